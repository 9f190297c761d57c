"""How validation losses after a step change with the task weights of that step.

With `θ'(w) = descend(θ, Σ_t w_t ∇L_t(θ))` the gradient handed to the optimizer is
linear in w, so that `∂L_val(θ')/∂w_t = ⟨∇L_t(θ), u⟩` with
`u = (∂θ'/∂g)ᵀ ∇L_val(θ')`: exact, and free of second derivatives of the losses. `u` is
one backward pass at θ' and one through the optimizer; the products with all T gradients
are one derivative of the loss vector along u, which is the transpose of the backward
pass `w -> Σ_t w_t ∇L_t(θ)`.
"""

from typing import Literal

import jax
import jax.numpy as jnp

from mtl_jax import tree
from mtl_jax.errors import unknown_name
from mtl_jax.typing import Array, PyTree
from mtl_jax.weighting import base, checks

FORMS = ("exact", "finite_difference")


def check(
    method: str,
    form: str,
    epsilon: float,
    inner_lr: float | None,
    num_inner: int = 1,
) -> None:
    """Raise `ValueError` where the settings of a hyper-gradient make no sense."""
    if form not in FORMS:
        raise unknown_name(f"hypergradient of {method}", form, FORMS)
    checks.number(method, "epsilon", epsilon, above=0)
    checks.integer(method, "num_inner", num_inner, at_least=1)
    if inner_lr is not None:
        checks.number(method, "inner_lr", inner_lr, above=0)
    if form == "finite_difference" and num_inner > 1:
        raise ValueError(
            f"{method} was given num_inner={num_inner} and hypergradient={form!r}, "
            "which is a formula of one step; use num_inner=1 or hypergradient='exact'"
        )


def hypergradients(
    problem: base.BilevelProblem,
    weights: Array,
    objectives: Array,
    *,
    form: Literal["exact", "finite_difference"] = "exact",
    num_inner: int = 1,
    inner_lr: float | Array | None = None,
    epsilon: float | Array = 0.01,
) -> tuple[Array, Array]:
    """Derivatives of weighted sums of validation losses after the step.

    Args:
        problem: the losses and the optimizer.
        weights: `[T]`, of the training losses in the step.
        objectives: `[K, T]`, row k the weights of the k-th sum.
        form: "exact", or "finite_difference": the products with u are
            `(L_t(θ + ε u) − L_t(θ − ε u)) / 2 ε`, two more forward passes, with
            `ε = epsilon / ‖u‖`. The loss differences need parameters in float32.
        num_inner: steps from θ to θ', all on the same training batch. More than one
            need second derivatives of the losses.
        inner_lr: learning rate of plain gradient descent in the place of the run's
            optimizer.
        epsilon: length of the displacement of "finite_difference".

    Returns:
        `[K, T]`, and the validation losses `[T]` at θ'. A row is NaN where the
        gradient at θ' is not finite.
    """
    if form == "exact":

        def unroll(weights: Array) -> PyTree:
            return _unroll(problem, weights, num_inner, inner_lr)

        after, pull = jax.vjp(unroll, weights)
    else:
        loss = jnp.sum(weights * problem.losses)

        def step(grads: PyTree) -> PyTree:
            start = problem.params, problem.optimizer
            return _step(problem, *start, grads, loss, inner_lr)[0]

        after, pull = jax.vjp(step, problem.backward(weights))
    losses, backward = jax.vjp(problem.validation_losses, after)

    def one(objective: Array) -> Array:
        at_after = backward(objective.astype(losses.dtype))[0]
        (found,) = pull(at_after)
        if form == "finite_difference":
            found = _differences(problem, found, epsilon)
        return jnp.where(tree.all_finite(at_after), found, jnp.nan)

    return jax.vmap(one)(objectives), losses


def _unroll(
    problem: base.BilevelProblem,
    weights: Array,
    num_inner: int,
    inner_lr: float | Array | None,
) -> PyTree:
    """The parameters after the steps, as a function of the weights."""
    params, optimizer = problem.params, problem.optimizer
    losses, grads = problem.losses, problem.backward(weights)
    for i in range(num_inner):
        if i:
            losses, vjp = jax.vjp(problem.train_losses, params)
            (grads,) = vjp(weights.astype(losses.dtype))
        loss = jnp.sum(weights * losses)
        params, optimizer = _step(problem, params, optimizer, grads, loss, inner_lr)
    return params


def _step(
    problem: base.BilevelProblem,
    params: PyTree,
    optimizer: PyTree,
    grads: PyTree,
    loss: Array,
    inner_lr: float | Array | None,
) -> tuple[PyTree, PyTree]:
    """One step of the run's optimizer, or of gradient descent."""
    grads = _with_derivative(grads)
    if inner_lr is None:
        return problem.descend(params, grads, optimizer, loss)
    moved = jax.tree.map(lambda p, g: (p - inner_lr * g).astype(p.dtype), params, grads)
    return moved, optimizer


@jax.custom_vjp
def _with_derivative(grads: PyTree) -> PyTree:
    """Gradients whose coordinates without a derivative count as not depending on w.

    The root of Adam's second moment has none at 0, where a coordinate's gradient is 0
    and always was: a pixel that is never lit, a unit that is dead.
    """
    return grads


def _forward(grads: PyTree) -> tuple[PyTree, None]:
    return grads, None


def _backward(residual: None, cotangent: PyTree) -> tuple[PyTree]:
    del residual
    return (jax.tree.map(lambda c: jnp.where(jnp.isfinite(c), c, 0), cotangent),)


_with_derivative.defvjp(_forward, _backward)


def _differences(
    problem: base.BilevelProblem, along: PyTree, epsilon: float | Array
) -> Array:
    """The derivatives of the training losses along a direction, `[T]`."""
    square = sum(
        jnp.sum(jnp.square(leaf.astype(problem.losses.dtype)))
        for leaf in jax.tree.leaves(along)
    )
    norm = jnp.sqrt(square)
    step = epsilon / jnp.where(norm > 0, norm, 1)

    def losses_at(signed: Array) -> Array:
        return problem.train_losses(
            jax.tree.map(
                lambda p, d: (p + signed * d).astype(p.dtype), problem.params, along
            )
        )

    return (losses_at(step) - losses_at(-step)) / (2 * step)
