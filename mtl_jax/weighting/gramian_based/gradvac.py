"""Gradient vaccine (GradVac)."""

from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from mtl_jax.solvers import precision
from mtl_jax.typing import Array
from mtl_jax.weighting import base, checks, visits


class GradVacState(NamedTuple):
    """What cosines the pairs of tasks have had, updated every step."""

    targets: Array  # [T, T] float32, φ̂_ij for the gradient of i meeting that of j


def gradvac(
    beta: float = 0.5,
    eps: float = 0.0,
    order: Literal["random", "ascending"] = "random",
) -> base.GramianWeighting:
    """Turn each gradient until it is as aligned with the others as it used to be.

    For each task i, `g = g_i` meets the other gradients j ≠ i in random order. Where
    its cosine φ with the original `g_j` is below the target φ̂_ij, it gets the multiple
    of `g_j` that makes the cosine φ̂_ij,

        `g ← g + g_j ‖g‖ (φ̂ √(1−φ²) − φ √(1−φ̂²)) / (‖g_j‖ √(1−φ̂²))`,

    and then `φ̂_ij ← (1−β) φ̂_ij + β φ`, from φ̂ = 0, for every pair that met. The result
    is the sum over i. As in pcgrad a turned gradient is a row of coefficients, and the
    Gramian is all the method needs. With every φ̂ = 0 it is pcgrad. Heads get weight 1.
    State: φ̂.

    The paper also keeps targets for groups of parameters, such as layers, and turns
    each group by itself: that is `per_group(gradvac(), by_layer)`.

    Args:
        beta: β, how fast the targets follow, in [0, 1]. The value usually quoted from
            the paper is 0.01; other implementations have 0.5.
        eps: added to `‖g‖ ‖g_j‖` in the cosine and to `‖g_j‖ √(1−φ̂²)` in the
            correction. Other implementations have 1e-8; any value but 0 makes the
            result depend on the scale of the losses.
        order: "random" draws a new order for each task and step; "ascending" visits
            the tasks in their own order, without randomness.

    Returns:
        A `GramianWeighting`; with `order="random"` it needs the keyword `key`.

    Raises:
        ValueError: a number out of its range; unknown order; no key.

    Example:
        >>> from mtl_jax.weighting import aggregate
        >>> jacobian = jnp.array([[1.0, 0.0], [-1.0, 1.0]])
        >>> result = aggregate(gradvac(order="ascending"), jacobian)
        >>> [round(float(d), 4) for d in result.direction]
        [0.5, 1.5]
        >>> round(float(result.state.targets[0, 1]), 4)
        -0.3536

    References:
        Wang, Tsvetkov, Firat and Cao, Gradient Vaccine: Investigating and Improving
        Multi-task Optimization in Massively Multilingual Models, ICLR 2021.

    Older code of others updates φ̂ only where a gradient is turned; the paper does it
    for every pair. A cosine counts as ±1 within the rounding of the Gramian's entries
    (16 eps of its dtype), and targets are kept as far from ±1: as φ̂ → 1 the correction
    has no bound, and two tasks with one gradient would be weighed by rounding errors.
    A gradient that is zero, or has become zero, has cosine 0 with all others.
    """
    checks.number("gradvac", "beta", beta, at_least=0, at_most=1)
    checks.number("gradvac", "eps", eps, at_least=0)
    visit = visits.orders("gradvac", order)

    def init(num_tasks: int, params: object = None) -> GradVacState:
        del params
        return GradVacState(jnp.zeros((num_tasks, num_tasks), base.state_dtype()))

    def update(
        gramian: Array,
        state: GradVacState,
        *,
        key: Array | None = None,
        mask: Array | None = None,
        **extra: object,
    ) -> tuple[Array, GradVacState]:
        del extra
        t = gramian.shape[0]
        keep = base.keep_mask(mask, t)
        solve = precision.in_float64(
            _turn_all(16 * float(jnp.finfo(gramian.dtype).eps))
        )
        constants = jnp.asarray(beta), jnp.asarray(eps)
        weights, targets = solve(
            gramian, state.targets, visit(key, t), keep, *constants
        )
        return weights, GradVacState(targets.astype(state.targets.dtype))

    return base.GramianWeighting(init, update)


def _turn_all(rounding: float) -> Callable[..., tuple[Array, Array]]:
    """The method on arrays; `rounding` is the error of a cosine."""

    def solve(
        gramian: Array,
        targets: Array,
        visits: Array,
        keep: Array,
        beta: Array,
        eps: Array,
    ) -> tuple[Array, Array]:
        t = gramian.shape[0]
        # A gradient is `Σ_k y_k g_k / ‖g_k‖`: lengths, and the correlations of all.
        norms = jnp.sqrt(jnp.where(keep, jnp.diagonal(gramian), 0))
        inverse = _divide(jnp.ones_like(norms), norms)
        correlations = gramian * inverse[:, None] * inverse[None, :]

        def turn(i: Array, target: Array, visit: Array) -> tuple[Array, Array]:
            def meet(
                k: int, carry: tuple[Array, Array, Array]
            ) -> tuple[Array, Array, Array]:
                y, products, target = carry  # products = C y
                j = visit[k]
                meets = keep[i] & keep[j] & (i != j)
                square = y @ products
                zero = square <= rounding / 4 * jnp.sum(jnp.abs(y)) ** 2
                norm = jnp.sqrt(jnp.where(zero, 0, square))
                inner = jnp.where(zero, 0, products[j] * norms[j])
                cosine = _divide(inner, norm * norms[j] + eps)
                cosine = jnp.where(
                    jnp.abs(cosine) > 1 - rounding, jnp.sign(cosine), cosine
                )
                goal = jnp.clip(target[j], rounding - 1, 1 - rounding)
                sine = jnp.sqrt(1 - goal**2)
                turned = goal * jnp.sqrt(1 - cosine**2) - cosine * sine
                step = _divide(norm * turned * norms[j], norms[j] * sine + eps)
                step = jnp.where(meets & (cosine < goal), step, 0)
                moved = (1 - beta) * target[j] + beta * cosine
                return (
                    y.at[j].add(step),
                    products + step * correlations[:, j],
                    target.at[j].set(jnp.where(meets, moved, target[j])),
                )

            y = jnp.zeros_like(norms).at[i].set(norms[i])
            start = y, correlations[:, i] * norms[i], target
            y, _, target = jax.lax.fori_loop(0, t, meet, start)
            return y, target

        index = jnp.arange(t, dtype=jnp.int32)
        y, targets = jax.vmap(turn)(index, targets, visits)
        weights = jnp.where(norms > 0, jnp.sum(y, 0) * inverse, 1)
        return jnp.where(keep, weights, 0), targets

    return solve


def _divide(above: Array, below: Array) -> Array:
    """The quotient, 0 where the divisor is not positive."""
    return jnp.where(below > 0, above / jnp.where(below > 0, below, 1), 0)
