"""First-order multi-gradient bilevel optimization (FORUM)."""

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from mtl_jax import tree
from mtl_jax.errors import unknown_name
from mtl_jax.solvers import constrained_min_norm, precision
from mtl_jax.typing import Array, PyTree
from mtl_jax.weighting import base, checks
from mtl_jax.weighting.bilevel import weights as learnt

_NORMALIZERS = ("l2", "none")


class FORUMState(NamedTuple):
    """The learnt weights and the averaged multipliers, updated every step."""

    logits: Array  # [T] float32, α; the weights are their softmax
    optimizer: Any  # the state of the optimizer of α
    duals: Array  # [T] float32, λ̄, the average of the multipliers
    epoch: Array  # [] int32, how many epochs were counted without the keyword
    solver: base.SolverReport


def forum(
    rho: float = 0.1,
    num_inner: int = 5,
    inner_lr: float = 0.1,
    w_lr: float = 1e-3,
    normalize: Literal["l2", "none"] = "l2",
    optimizer: optax.GradientTransformation | None = None,
) -> base.BilevelWeighting:
    """Descend all validation losses, held to weights whose training loss is minimal.

    With `f(α, θ) = Σ_t w_t L_t(θ)` the weighted training loss, `w = softmax(α)`, the
    bilevel problem `min_α (F_1 … F_T)(θ)` for `θ = argmin f(α, ·)`, F being the
    validation losses, is the problem of one level `min F(z)` over `z = (α, θ)` under
    `q(z) = f(α, θ) − min_φ f(α, φ) ≤ 0`. The minimum is approached by `num_inner` steps
    of gradient descent from θ to φ, which is then held constant:
    `∇q = (∂f(α, θ)/∂α − ∂f(α, φ)/∂α, ∂f(α, θ)/∂θ)`, no second derivatives. The
    direction `d = −(Σ_i λ_i ∇F_i + ν ∇q)` solves `min_d max_i ⟨∇F_i, d⟩ + ½ ‖d‖²` under
    `⟨∇q, d⟩ ≤ −ρ ‖∇q‖²`. Its multipliers λ are averaged over the steps,
    `λ̄ ← λ̄ + η (λ − λ̄)` with `η = (epoch + 1)^{−3/4}`, and take with them
    `ν = max(0, Σ_i λ̄_i π_i)`, `π_i = ρ − ⟨∇q, ∇F_i⟩ / ‖∇q‖²`. α takes a step of its own
    optimizer along its part, and θ one of the run's optimizer. The validation data thus
    train the network itself, not its weights alone.

    Heads get their part of the same direction, weighed alike. The weights told are
    those of the training losses, `softmax(α)`. State: α, the moments of its optimizer,
    λ̄, a counter, the solver's report.
    Cost: `num_inner` forward and backward passes on the training batch, T backward
    passes on the validation batch, T + 1 gradients in memory.

    Args:
        rho: ρ, how fast q has to fall.
        num_inner: steps towards the minimum of f. Of the points on the way, the one
            with the least f counts.
        inner_lr: their learning rate, η of the authors' code.
        w_lr: learning rate of Adam on α.
        normalize: "l2" (each ∇F_i is divided by its length, as in the authors' code)
            or "none".
        optimizer: optimizer of α in the place of Adam.

    Returns:
        A `BilevelWeighting`, for `train.make_bilevel_step` and `fit`; it reads the
        keyword `epoch`.

    Raises:
        ValueError: a hyper-parameter out of its range, or an unknown normaliser.

    Example:
        >>> import optax
        >>> from mtl_jax import train
        >>> def losses_fn(shared, specific, batch):
        ...     return jnp.stack([jnp.mean((batch["x"] - shared) ** 2),
        ...                       jnp.mean((batch["x"] + shared) ** 2)])
        >>> method = forum(w_lr=0.1)
        >>> step = train.make_bilevel_step(
        ...     losses_fn, method, optax.sgd(0.1), parallel="jit", steps_per_epoch=1)
        >>> state = train.create(jnp.array(0.5), {}, method=method,
        ...                      optimizer=optax.sgd(0.1), num_tasks=2)
        >>> batch = {"x": jnp.ones(4), "validation": {"x": jnp.ones(2)}}
        >>> _, output = step(state, batch)
        >>> [round(float(w), 3) for w in output.weights]
        [0.55, 0.45]

    References:
        Ye, Lin, Cao, Zhang and Tsang, A First-Order Multi-Gradient Algorithm for
        Multi-Objective Bi-Level Optimization, ECAI 2024.

    This follows the authors' code, the paper's equations having not been at hand. We
    differ in three points. The linear term of the dual problem there is half of what
    its own ν implies; here it is the dual of the problem above. There the last of the
    inner steps counts, also where they have diverged. There training and validation
    batches are two halves of the training data.
    """
    checks.number("forum", "rho", rho, at_least=0)
    checks.integer("forum", "num_inner", num_inner, at_least=1)
    checks.number("forum", "inner_lr", inner_lr, above=0)
    checks.number("forum", "w_lr", w_lr, at_least=0)
    if normalize not in _NORMALIZERS:
        raise unknown_name("normaliser of forum", normalize, _NORMALIZERS)
    adam = optax.adam(w_lr) if optimizer is None else optimizer

    @precision.in_float64
    def solve(
        gramian: Array,
        q_logits: Array,
        duals: Array,
        rate: Array,
        rho: Array,
        mask: Array,
    ) -> tuple[Array, Array, Array, base.SolverReport]:
        """Factors of ∇F_1 … ∇F_T, that of ∇q, the averaged multipliers, the report."""
        gramian = gramian.at[-1, -1].add(jnp.sum(q_logits**2))
        norms = jnp.sqrt(jnp.diagonal(gramian))
        unit = jnp.where(norms > 0, 1 / jnp.where(norms > 0, norms, 1), 0)
        scale = unit.at[-1].set(1) if normalize == "l2" else jnp.ones_like(norms)
        gramian = gramian * scale[:, None] * scale[None, :]
        square = gramian[-1, -1]
        found = constrained_min_norm.constrained_min_norm(gramian, rho * square, mask)
        duals = jnp.where(mask, duals + rate * (found.weights - duals), duals)
        present = jnp.where(mask, duals, 0)
        total = jnp.sum(present)
        present = present / jnp.where(total > 0, total, 1)
        pi = rho - gramian[-1, :-1] / jnp.where(square > 0, square, 1)
        nu = jnp.where(square > 0, jnp.maximum(jnp.sum(present * pi), 0), 0)
        nu = jnp.where(jnp.any(mask), nu, 0)
        report = base.SolverReport(found.iterations, found.converged)
        return present * scale[:-1], nu, duals, report

    def lowest(problem: base.BilevelProblem, w: Array) -> Array:
        """The training losses at the best of the inner steps, `[T]`."""

        def down(params: PyTree, grads: PyTree) -> PyTree:
            return jax.tree.map(
                lambda p, g: (p - inner_lr * g).astype(p.dtype), params, grads
            )

        def best(losses: Array, old: Array) -> Array:
            return jnp.where(jnp.sum(w * losses) < jnp.sum(w * old), losses, old)

        def inner(_: int, carry: tuple[PyTree, Array]) -> tuple[PyTree, Array]:
            params, old = carry
            losses, vjp = jax.vjp(problem.train_losses, params)
            return down(params, vjp(w.astype(losses.dtype))[0]), best(losses, old)

        first = down(problem.params, problem.backward(w))
        params, losses = jax.lax.fori_loop(
            0, num_inner - 1, inner, (first, problem.losses)
        )
        return best(problem.train_losses(params), losses)

    def init(num_tasks: int, params: Any = None) -> FORUMState:
        del params
        logits = jnp.zeros(num_tasks, base.state_dtype())
        return FORUMState(
            logits=logits,
            optimizer=adam.init(logits),
            duals=jnp.zeros(num_tasks, base.state_dtype()),
            epoch=jnp.zeros((), jnp.int32),
            solver=base.no_report(),
        )

    def update(
        problem: base.BilevelProblem,
        state: FORUMState,
        *,
        mask: Array | None = None,
        epoch: Array | int | None = None,
        **extra: object,
    ) -> tuple[PyTree, Array, FORUMState]:
        del extra
        logits = state.logits
        t = logits.shape[0]
        keep = base.keep_mask(mask, t)
        w, pull = jax.vjp(lambda logits: learnt.simplex(logits, keep), logits)
        gap = problem.losses - lowest(problem, w)
        q_logits = pull(gap.astype(w.dtype))[0]
        q_params = problem.backward(w)
        _, vjp = jax.vjp(problem.validation_losses, problem.params)
        objectives = jax.vmap(lambda row: vjp(row)[0])(
            jnp.eye(t, dtype=problem.losses.dtype)
        )
        rows = jax.tree.map(
            lambda f, q: jnp.concatenate([f, q[None]]), objectives, q_params
        )
        now = jnp.asarray(state.epoch if epoch is None else epoch, jnp.int32)
        rate = (now + 1).astype(logits.dtype) ** -0.75
        factors, nu, duals, report = solve(
            tree.gramian(rows),
            q_logits,
            state.duals,
            rate,
            jnp.asarray(rho, logits.dtype),
            problem.validation_mask,
        )
        known = keep & jnp.any(problem.validation_mask)
        logits, inner = learnt.learn(
            adam, nu * q_logits, state.optimizer, logits, known
        )
        grads = tree.combine(jnp.append(factors, nu), rows)
        return (
            grads,
            learnt.simplex(logits, keep),
            FORUMState(logits, inner, duals, state.epoch + 1, report),
        )

    return base.BilevelWeighting(init, update, needs_epoch=True)
