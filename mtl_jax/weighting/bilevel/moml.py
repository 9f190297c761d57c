"""Multi-objective meta learning (MOML)."""

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from mtl_jax.solvers import precision
from mtl_jax.typing import Array, PyTree
from mtl_jax.weighting import base, checks
from mtl_jax.weighting.bilevel import hypergradient as hyper
from mtl_jax.weighting.bilevel import weights as learnt
from mtl_jax.weighting.gramian_based.mgda import mgda


class MOMLState(NamedTuple):
    """The learnt weights, updated every step."""

    logits: Array  # [T] float32, α; the weights are their softmax
    optimizer: Any  # the state of the optimizer of α
    solver: base.SolverReport


def moml(
    w_lr: float = 1e-3,
    num_inner: int = 1,
    inner_lr: float | None = None,
    normalize: Literal["none", "l2", "loss", "loss+"] = "none",
    hypergradient: Literal["exact", "finite_difference"] = "exact",
    epsilon: float = 0.01,
    optimizer: optax.GradientTransformation | None = None,
) -> base.BilevelWeighting:
    """Learn the task weights along which every validation loss falls.

    The upper level has T objectives, the validation losses `L_k(θ'(α))` after steps
    of the lower level along `Σ_t w_t ∇L_t(θ)`, `w = softmax(α)`. Their gradients with
    respect to α, the hyper-gradients `h_k`, are combined by the min-norm weights of
    MGDA, `a = argmin ‖Σ_k a_k h_k‖²` over the simplex, and α descends `Σ_k a_k h_k`,
    along which no validation loss rises to first order. Where every change of the
    weights harms some task, that sum is 0 and the weights stay, as they often do
    between tasks that compete. Then the parameters take their step on the training
    batch with the new weights, whose sum is 1. Heads get the same weights.
    State: α, the moments of its optimizer, the solver's report.
    Cost: beside the training step, T backward passes on the validation batch and the
    derivative of one backward pass for each.

    Args:
        w_lr: learning rate of Adam on α (1e-3 in the authors' code for Office-31 and
            in that of FORUM, 1e-4 for NYUv2).
        num_inner: steps of the lower level, all on the same training batch. More than
            one cost second derivatives of the losses.
        inner_lr: learning rate of plain gradient descent at the lower level, as in the
            authors' code (1e-4 there, 0.1 in that of FORUM); default: the steps are
            those of the run's optimizer.
        normalize: of the hyper-gradients before the min-norm problem, as in `mgda`;
            a loss may then rise. The authors' code has "l2" for Office-31 and "loss"
            for NYUv2.
        hypergradient: "exact", or "finite_difference" for one inner step.
        epsilon: length of the displacement of "finite_difference".
        optimizer: optimizer of α in the place of Adam.

    Returns:
        A `BilevelWeighting`, for `train.make_bilevel_step` and `fit`.

    Raises:
        ValueError: a hyper-parameter out of its range, or finite differences of several
            inner steps.

    Example:
        >>> import optax
        >>> from mtl_jax import train
        >>> def losses_fn(shared, specific, batch):  # the second one's scale is wrong
        ...     far, near = batch["x"] - shared, 3 * (batch["x"] - shared)
        ...     return jnp.stack([jnp.mean(far ** 2), jnp.mean(near ** 2)])
        >>> method = moml(w_lr=0.1)
        >>> step = train.make_bilevel_step(
        ...     losses_fn, method, optax.sgd(0.01), parallel="jit")
        >>> state = train.create(jnp.array(0.0), {}, method=method,
        ...                      optimizer=optax.sgd(0.01), num_tasks=2)
        >>> batch = {"x": jnp.ones(4), "validation": {"x": jnp.ones(2)}}
        >>> _, output = step(state, batch)
        >>> [round(float(w), 3) for w in output.weights]
        [0.45, 0.55]

    References:
        Ye, Lin, Yue, Guo, Xiao and Zhang, Multi-Objective Meta Learning, NeurIPS 2021.

    The authors' code takes the parameters' step on training and validation data
    together, and its lower level is plain gradient descent whatever the optimizer
    (`inner_lr`). It differentiates through the graph of that step; the derivative is
    the same as here.
    """
    hyper.check("moml", hypergradient, epsilon, inner_lr, num_inner)
    checks.number("moml", "w_lr", w_lr, at_least=0)
    adam = optax.adam(w_lr) if optimizer is None else optimizer
    upper = mgda(normalize)

    @precision.in_float64
    def combine(
        rows: Array, losses: Array, mask: Array
    ) -> tuple[Array, base.SolverReport]:
        rows = jnp.where(mask[:, None], rows, 0)
        scale = jnp.max(jnp.abs(rows))
        unit = rows / jnp.where(scale > 0, scale, 1)
        solver = base.SolverState(base.no_report())
        w, solver = upper.update(unit @ unit.T, solver, losses=losses, mask=mask)
        return w @ rows, solver.solver

    def init(num_tasks: int, params: Any = None) -> MOMLState:
        del params
        logits = jnp.zeros(num_tasks, base.state_dtype())
        return MOMLState(logits, adam.init(logits), base.no_report())

    def update(
        problem: base.BilevelProblem,
        state: MOMLState,
        *,
        mask: Array | None = None,
        **extra: object,
    ) -> tuple[PyTree, Array, MOMLState]:
        del extra
        logits = state.logits
        t = logits.shape[0]
        keep = base.keep_mask(mask, t)
        w, pull = jax.vjp(lambda logits: learnt.simplex(logits, keep), logits)
        slopes, losses = hyper.hypergradients(
            problem,
            w,
            jnp.eye(t, dtype=logits.dtype),
            form=hypergradient,
            num_inner=num_inner,
            inner_lr=inner_lr,
            epsilon=epsilon,
        )
        rows = jax.vmap(lambda row: pull(row)[0])(slopes.astype(logits.dtype))
        gradient, report = combine(rows, losses, problem.validation_mask)
        known = keep & jnp.any(problem.validation_mask)
        logits, inner = learnt.learn(adam, gradient, state.optimizer, logits, known)
        w = learnt.simplex(logits, keep)
        return problem.backward(w), w, MOMLState(logits, inner, report)

    return base.BilevelWeighting(init, update)
