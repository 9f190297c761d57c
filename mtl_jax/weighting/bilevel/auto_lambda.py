"""Auto-λ."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mtl_jax.errors import unknown_name
from mtl_jax.typing import Array, PyTree
from mtl_jax.weighting import base, checks
from mtl_jax.weighting.bilevel import hypergradient as hyper
from mtl_jax.weighting.bilevel import weights as learnt

_FORMS = ("raw", "softmax")


class AutoLambdaState(NamedTuple):
    """The learnt weights, updated every step."""

    raw: Array  # [T] float32, λ
    optimizer: Any  # the state of the optimizer of λ


def auto_lambda(
    primary: Sequence[int] | None = None,
    w_init: float = 0.1,
    w_lr: float = 3e-4,
    weights: Literal["raw", "softmax"] = "raw",
    hypergradient: Literal["exact", "finite_difference"] = "exact",
    epsilon: float = 0.01,
    inner_lr: float | None = None,
    optimizer: optax.GradientTransformation | None = None,
) -> base.BilevelWeighting:
    """Learn the task weights that lower the validation loss of the primary tasks.

    Each step looks one step ahead: with `θ'(λ)` the parameters after a step of the
    run's optimizer along `Σ_t λ_t ∇L_t(θ)` on the training batch, λ descends
    `Σ_{t primary} L_t(θ')` on the validation batch. Then the parameters take their step
    on the training batch with the new λ. A weight grows while its task's gradient
    points where the primary tasks' validation losses fall. Raw weights have no bound: a
    task that does harm for long gets a negative one. Heads get the same weights.
    State: λ and the moments of its optimizer.
    Cost: three backward passes and the derivative of one, two forward passes.

    Args:
        primary: indices of the tasks whose validation losses count; default: all.
        w_init: initial value of every λ.
        w_lr: learning rate of Adam on λ. The authors' code has 3e-4 for CIFAR-100 and
            1e-4 for NYUv2 and Cityscapes. In few steps λ moves little: a weight changes
            by about this much a step.
        weights: "raw" (the weights are λ) or "softmax" (of λ; their sum is 1).
        hypergradient: "exact", or "finite_difference" as in the authors' code.
        epsilon: length of the displacement of "finite_difference".
        inner_lr: learning rate of plain gradient descent for the look ahead, in the
            place of the run's optimizer. Needed where that hides the weights, as one
            that takes signs does.
        optimizer: optimizer of λ in the place of Adam.

    Returns:
        A `BilevelWeighting`, for `train.make_bilevel_step` and `fit`.

    Raises:
        ValueError: a hyper-parameter out of its range; in `init`: a primary task that
            is not there.

    Example:
        >>> import optax
        >>> from mtl_jax import train
        >>> def losses_fn(shared, specific, batch):
        ...     return jnp.stack([jnp.mean((batch["x"] - shared) ** 2),
        ...                       jnp.mean((batch["x"] + shared) ** 2)])
        >>> method = auto_lambda(primary=[0], w_lr=0.05)
        >>> step = train.make_bilevel_step(
        ...     losses_fn, method, optax.sgd(0.1), parallel="jit")
        >>> state = train.create(jnp.array(0.0), {}, method=method,
        ...                      optimizer=optax.sgd(0.1), num_tasks=2)
        >>> batch = {"x": jnp.ones(4), "validation": {"x": jnp.ones(2)}}
        >>> _, output = step(state, batch)
        >>> [round(float(w), 3) for w in output.weights]
        [0.15, 0.05]

    References:
        Liu, James, Davison and Johns, Auto-Lambda: Disentangling Dynamic Task
        Relationships, Transactions on Machine Learning Research 2022.

    The authors' code approximates the derivative by finite differences, as DARTS, and
    takes the look ahead for a step of SGD with momentum and weight decay, whose
    learning rate scales the derivative; here the derivative is exact, the optimizer is
    the run's, and "finite_difference" with `optax.sgd` is theirs. Their validation
    batches are training data in another order; `fit` takes the validation split.
    LibMTL's weights are the softmax, and its look ahead leaves out momentum and weight
    decay.
    """
    if weights not in _FORMS:
        raise unknown_name("weights of auto_lambda", weights, _FORMS)
    hyper.check("auto_lambda", hypergradient, epsilon, inner_lr)
    checks.number("auto_lambda", "w_init", w_init)
    checks.number("auto_lambda", "w_lr", w_lr, at_least=0)
    adam = optax.adam(w_lr) if optimizer is None else optimizer

    def form(raw: Array, keep: Array) -> Array:
        if weights == "softmax":
            return learnt.simplex(raw, keep)
        return jnp.where(keep, raw, 0)

    def init(num_tasks: int, params: Any = None) -> AutoLambdaState:
        del params
        _objective(primary, num_tasks)
        raw = jnp.full(num_tasks, w_init, base.state_dtype())
        return AutoLambdaState(raw, adam.init(raw))

    def update(
        problem: base.BilevelProblem,
        state: AutoLambdaState,
        *,
        mask: Array | None = None,
        **extra: object,
    ) -> tuple[PyTree, Array, AutoLambdaState]:
        del extra
        raw = state.raw
        keep = base.keep_mask(mask, raw.shape[0])
        objective = _objective(primary, raw.shape[0]) & problem.validation_mask
        w, pull = jax.vjp(lambda raw: form(raw, keep), raw)
        slopes, _ = hyper.hypergradients(
            problem,
            w,
            objective[None].astype(raw.dtype),
            form=hypergradient,
            inner_lr=inner_lr,
            epsilon=epsilon,
        )
        known = keep & jnp.any(objective)
        raw, inner = learnt.learn(adam, pull(slopes[0])[0], state.optimizer, raw, known)
        w = form(raw, keep)
        return problem.backward(w), w, AutoLambdaState(raw, inner)

    return base.BilevelWeighting(init, update)


def _objective(primary: Sequence[int] | None, num_tasks: int) -> Array:
    """Which tasks' validation losses count, `[T]` bool."""
    if primary is None:
        return jnp.ones(num_tasks, bool)
    found = np.asarray(primary)
    good = found.ndim == 1 and found.size > 0 and found.dtype.kind in "iu"
    if not good or np.any((found < 0) | (found >= num_tasks)):
        raise ValueError(
            f"auto_lambda of {num_tasks} tasks was given primary={primary!r}; give the "
            f"indices of the primary tasks, whole numbers from 0 to {num_tasks - 1}"
        )
    return jnp.zeros(num_tasks, bool).at[found].set(True)
