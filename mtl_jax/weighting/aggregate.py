"""A method applied to a plain matrix: how a researcher, and a test, looks at it."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mtl_jax import tree
from mtl_jax.typing import Array
from mtl_jax.weighting import base


class Aggregation(NamedTuple):
    """What a method makes of a Jacobian; prints as a few lines for people."""

    direction: Array  # [P]; parameters move against it
    weights: Array | None  # [T], or None for a `GradientAggregator`
    state: Any

    def __str__(self) -> str:
        if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(self)):
            return repr(self)
        lines = [f"direction of length {float(jnp.linalg.norm(self.direction)):.4g}"]
        if self.weights is not None:
            values = "  ".join(f"{w:.4g}" for w in np.asarray(self.weights, float))
            lines.insert(0, f"weights {values}  (sum {float(self.weights.sum()):.4g})")
        report = base.solver_report(self.state)
        if report is not None:
            end = "converged" if report.converged else "did NOT converge"
            steps = int(report.iterations)
            lines.append(f"solver: {end}, {steps} iteration{'s' * (steps != 1)}")
        return "\n".join(lines)


def aggregate(
    method: base.AnyMethod,
    jacobian: Array,
    *,
    losses: Array | None = None,
    state: Any = None,
    key: Array | None = None,
    **extra: Any,
) -> Aggregation:
    """Apply any method to a Jacobian.

    Args:
        method: of any kind.
        jacobian: `[T, P]`, float32 or float64; row t is the gradient of loss t. For a
            method of several samples also `[S, T, P]`, one Jacobian a sample; with one
            matrix all samples are the same.
        losses: `[T]`; ones where they are not given.
        state: what the call before returned; default: a new one.
        key: for random methods; default: `jax.random.key(0)`.
        **extra: further keywords of `update`, such as `epoch` or `mask`; arrays or
            numbers.

    Returns:
        The direction, the weights (where the method has them) and the state.

    Raises:
        ValueError: a Jacobian that is not a matrix or not finite, or losses of another
            length.
        TypeError: what is not a method.

    Example:
        >>> from mtl_jax.weighting import mgda
        >>> print(aggregate(mgda(), jnp.array([[3.0, 0.0], [0.0, 3.0]])))
        weights 0.5  0.5  (sum 1)
        direction of length 2.121
        solver: converged, 1 iteration
    """
    kinds = (base.LossWeighting, base.GramianWeighting, base.GradientAggregator)
    if isinstance(method, base.BilevelWeighting):
        raise TypeError(
            "a bilevel method differentiates the validation losses through the "
            "optimizer's step, and a matrix does not tell them; use it in "
            "train.make_bilevel_step"
        )
    if not isinstance(method, kinds):
        raise TypeError(f"{method!r} is not a weighting method; use make(name, …)")
    samples = _samples(method, jacobian)
    jacobian = samples[-1]
    t = jacobian.shape[0]
    losses = jnp.ones(t, jacobian.dtype) if losses is None else _floating(losses)
    if losses.shape != (t,):
        raise ValueError(
            f"aggregate was given a Jacobian of {t} tasks and losses of shape "
            f"{losses.shape}; give one loss a task"
        )
    key = jax.random.key(0) if key is None else key
    if state is None:
        state = method.init(t, jnp.zeros_like(jacobian[0]))
    update = jax.jit(method.update)  # compiled once a method and shape
    if isinstance(method, base.LossWeighting):
        weights, state = update(losses, state, key=key, **extra)
    elif isinstance(method, base.GramianWeighting):
        parts = samples[:2] if method.where is None else map(method.where, samples[:2])
        one, *others = parts
        gramian = tree.cross_gramian(one, others[0]) if others else tree.gramian(one)
        weights, state = update(gramian, state, losses=losses, key=key, **extra)
    else:
        direction, _, state = update(jacobian, state, losses=losses, key=key, **extra)
        return Aggregation(direction, None, state)
    return Aggregation(tree.combine(weights, jacobian), weights, state)


def _samples(method: base.Method, jacobian: Any) -> list[Array]:
    """The Jacobians of all samples, or the one that stands for all."""
    jacobian = _floating(jacobian)
    wanted = getattr(method, "num_samples", 1)
    if jacobian.ndim == 3 and wanted > 1:
        if jacobian.shape[0] != wanted:
            raise ValueError(
                f"this method takes {wanted} samples and was given the Jacobians of "
                f"{jacobian.shape[0]}; give [{wanted}, T, P] or one matrix [T, P]"
            )
        samples = list(jacobian)
    elif jacobian.ndim == 2:
        samples = [jacobian]
    else:
        raise ValueError(
            f"aggregate needs a Jacobian of shape [T, P]; found {jacobian.shape}"
        )
    if not isinstance(jacobian, jax.core.Tracer):
        found = np.asarray(
            jacobian.astype(jnp.promote_types(jacobian.dtype, "float32"))
        )
        rows = ~np.all(np.isfinite(found.reshape(-1, *found.shape[-2:])), axis=(0, 2))
        if np.any(rows):
            raise ValueError(
                "aggregate was given a Jacobian that is not finite: NaN or infinity in "
                f"the gradients of tasks {np.flatnonzero(rows).tolist()} (counted from "
                "0). Look for an overflow or a division by zero in their losses"
            )
    return samples


def _floating(array: Any) -> Array:
    """An array of floating numbers; integers would truncate the weights."""
    array = jnp.asarray(array)
    if jnp.issubdtype(array.dtype, jnp.inexact):
        return array
    return array.astype(base.state_dtype())
