"""Soft parameter sharing: a network a task, tied by a penalty."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from mtl_jax.errors import unknown_name
from mtl_jax.models import calling
from mtl_jax.models.columns import columns
from mtl_jax.models.penalised import with_penalty
from mtl_jax.models.trace_norm import trace_norm
from mtl_jax.typing import Array, PyTree


class SoftSharing(nn.Module):
    """A trunk and a head for each task, with trunks that are pulled together.

    Task k has the outputs `h_k(f(x; θ_k))`. In training its loss has a penalty on the
    parameters of the trunks added, as a `Penalised` output. Summed over the T tasks the
    penalties are, with `l2`,

        strength · Σ_k ||θ_k - θ̄||²,    θ̄ = Σ_k θ_k / T

    of which task k has its own term, and with `trace_norm`

        strength · Σ_layers ||[θ_1; …; θ_T]_layer||_*

    of which each task has one T-th. There the parameters of the tasks in a layer are
    the rows of a matrix `[T, P]`, and a small sum of singular values is one of few
    directions: the tasks combine a few latent ones. A kernel and a bias count as layers
    of their own.

    A penalty reads all trunks, so that all trunks are shared parameters: each weighting
    method sees how the tie of one task moves the others. Heads are task-specific. There
    is no representation, since each task has its own. The trunks are one tree with
    leaves `[T, ...]`, in the order of the tasks.

    Duong et al. tie two parsers, source and target, by `λ ||θ_1 - θ_2||²`. For T tasks
    `Σ_k ||θ_k - θ̄||² = Σ_{j<k} ||θ_j - θ_k||² / T`, so that theirs is that of two tasks
    with a strength of 2λ. They leave some layers untied, and here all parameters of the
    trunk are tied. Of the three norms of Yang and Hospedales this is the one of the
    last axis (LAF); they start from networks trained alone.

    Attributes:
        trunk: module that each task has a copy of; what it gives is for a head.
        heads: task name to module.
        penalty: "l2" or "trace_norm".
        strength: its factor, above 0.
        equal_start: the trunks of all tasks start from equal parameters; there the
            penalty `l2` is 0. Default: each from its own.

    Raises:
        ValueError: when called: another penalty, or a strength that is not above 0.

    Example:
        >>> net = SoftSharing(nn.Dense(4), {"a": nn.Dense(1), "b": nn.Dense(3)})
        >>> outputs, _ = net.init_with_output(jax.random.key(0), jnp.ones((2, 5)))
        >>> {name: out.shape for name, out in outputs.items()}
        {'a': (2, 1), 'b': (2, 3)}

    References:
        Duong, Cohn, Bird and Cook, Low Resource Dependency Parsing: Cross-lingual
        Parameter Sharing in a Neural Network Parser, ACL 2015.
        Yang and Hospedales, Trace Norm Regularised Deep Multi-Task Learning, ICLR 2017
        workshop.
    """

    trunk: nn.Module
    heads: Mapping[str, nn.Module]
    penalty: Literal["l2", "trace_norm"] = "l2"
    strength: float = 1e-3
    equal_start: bool = False

    shared_names: ClassVar[tuple[str, ...]] = ("trunk",)
    no_representation: ClassVar[str] = (
        "in soft sharing every task has a trunk of its own, and what ties the trunks "
        "is a penalty on their parameters"
    )

    @nn.compact
    def __call__(self, inputs: PyTree, train: bool = False) -> dict[str, Any]:
        """`{task: outputs}`; in training with the penalties."""
        if self.penalty not in PENALTIES:
            raise unknown_name("penalty of soft sharing", self.penalty, PENALTIES)
        if not self.strength > 0:
            raise ValueError(
                f"SoftSharing was given strength={self.strength}; it is above 0. "
                "Tasks that are not tied share nothing: train each alone"
            )
        z = columns(self.trunk, len(self.heads), inputs, train, self.equal_start)
        outputs = {
            task: calling.call(head, jax.tree.map(lambda a, k=k: a[:, k], z), train)
            for k, (task, head) in enumerate(self.heads.items())
        }
        if not train:
            return outputs
        terms = self.strength * PENALTIES[self.penalty](self.trunk.variables["params"])
        return {
            task: with_penalty(outputs[task], terms[k])
            for k, task in enumerate(self.heads)
        }


def distances(params: PyTree) -> Array:
    """The squared distance of each row of the parameters to the mean of all rows.

    Args:
        params: leaves `[T, ...]`.

    Returns:
        `[T]`.

    Example:
        >>> print(distances({"bias": jnp.array([[0.0, 2.0], [2.0, 2.0]])}))
        [1. 1.]
    """

    def one(leaf: Array) -> Array:
        away = leaf - jnp.mean(leaf, axis=0)
        return jnp.sum(away.reshape(len(leaf), -1) ** 2, axis=1)

    return sum(map(one, _leaves(params)))  # type: ignore[return-value]


def trace_norms(params: PyTree) -> Array:
    """The trace norms of all leaves as matrices `[T, P]`, a T-th for each row.

    Args:
        params: leaves `[T, ...]`.

    Returns:
        `[T]`, all equal.

    Example:
        >>> print(trace_norms({"bias": jnp.array([[3.0, 0.0], [0.0, 1.0]])}))
        [2. 2.]
    """
    leaves = _leaves(params)
    norms = [trace_norm(leaf.reshape(len(leaf), -1)) for leaf in leaves]
    return jnp.broadcast_to(sum(norms) / len(leaves[0]), len(leaves[0]))


def _leaves(params: PyTree) -> list[Array]:
    """In float32 or wider, in which squares and singular values are computed."""
    return [
        leaf.astype(jnp.promote_types(leaf.dtype, jnp.float32))
        for leaf in jax.tree.leaves(params)
    ]


PENALTIES: dict[str, Callable[[PyTree], Array]] = {
    "l2": distances,
    "trace_norm": trace_norms,
}
"""By name, a function of the parameters of the trunks."""
