"""Linear scalarisation along a preference vector."""

import itertools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from mtl_jax.typing import Array
from mtl_jax.weighting import base, checks


def preference(
    weights: Sequence[float] | Array | None = None,
    alpha: float | Sequence[float] | Array = 1.0,
) -> base.LossWeighting:
    """Weigh the losses with a point of the simplex, given or drawn anew every step.

    `w = r` with `r ≥ 0` and `Σ_t r_t = 1`: the r that is given, or a new draw from the
    Dirichlet distribution with the concentrations α. One run for each of
    `preference_vectors` traces the convex part of a Pareto front. Without the tasks
    that have no labels in the batch, r is what is left, divided by its sum. Heads get
    the same weights. No state.

    Args:
        weights: r, `[T]`, in any scale; default: drawn.
        alpha: α, a number or `[T]`, positive; 1 draws evenly from the simplex, less
            favours its corners, more its centre. Not used where r is given.

    Returns:
        A `LossWeighting`; where r is drawn it needs the keyword `key` of `update`. Its
        `init` raises `ValueError` for vectors of another length or negative weights.

    Raises:
        ValueError: an α that is not positive; no key.

    Example:
        >>> method = preference([1.0, 3.0])
        >>> weights, _ = method.update(jnp.ones(2), method.init(2))
        >>> weights.tolist()
        [0.25, 0.75]

    References:
        Navon, Shamsian, Chechik and Fetaya, Learning the Pareto Front with
        Hypernetworks, ICLR 2021.

    The paper, and COSMOS, give the drawn r to the network as an input, so that one
    network holds the whole front; here the network does not see it. With α = 1 the
    draws are those of `rlw(dist="dirichlet")`.
    """
    checks.number("preference", "alpha", alpha, above=0)

    def init(num_tasks: int, params: object = None) -> base.EmptyState:
        checks.preference("preference", "weights", weights, num_tasks)
        checks.one_or_per_task("preference", "alpha", alpha, num_tasks)
        return base.no_state(num_tasks, params)

    def draw(key: Array | None, keep: Array) -> Array:
        if key is None:
            raise ValueError(
                "preference draws its weights: update needs key=jax.random.key(…), or "
                "use preference(weights=…)"
            )
        concentration = checks.one_or_per_task(
            "preference", "alpha", alpha, keep.shape[0]
        )
        # Gamma variates divided by their sum; their logarithms never underflow.
        log = jax.random.loggamma(key, concentration.astype(base.state_dtype()))
        return jax.nn.softmax(jnp.where(keep, log, -jnp.inf))

    def update(
        losses: Array,
        state: base.EmptyState,
        *,
        key: Array | None = None,
        mask: Array | None = None,
        **extra: object,
    ) -> tuple[Array, base.EmptyState]:
        del extra
        t = losses.shape[0]
        keep = base.keep_mask(mask, t)
        if weights is None:
            r = draw(key, keep)
        else:
            given = checks.preference("preference", "weights", weights, t)
            given = jnp.where(keep, given / jnp.max(given), 0)
            total = jnp.sum(given)
            r = given / jnp.where(total > 0, total, 1)
        return jnp.where(keep, r, 0).astype(losses.dtype), state

    return base.LossWeighting(init, update)


def preference_vectors(num_tasks: int, divisions: int) -> np.ndarray:
    """All preference vectors whose entries are multiples of `1 / divisions`.

    They are the points of an even lattice on the simplex (Das and Dennis,
    Normal-Boundary Intersection, SIAM Journal on Optimization 1998). There are
    `(T + H − 1)! / (H! (T − 1)!)` of them for H divisions; the count grows fast with T.

    Args:
        num_tasks: T.
        divisions: H; at least T for a vector without a zero.

    Returns:
        `[N, T]`, each row sums to 1, in lexicographic order.

    Raises:
        ValueError: numbers below 1.

    Example:
        >>> preference_vectors(2, 4).tolist()
        [[0.0, 1.0], [0.25, 0.75], [0.5, 0.5], [0.75, 0.25], [1.0, 0.0]]
    """
    checks.integer("preference_vectors", "num_tasks", num_tasks, at_least=1)
    checks.integer("preference_vectors", "divisions", divisions, at_least=1)
    places = divisions + num_tasks - 1
    # T - 1 bars among H stars: the stars between two bars are one entry.
    bars = itertools.combinations(range(places), num_tasks - 1)
    edges = np.array([(-1, *between, places) for between in bars])
    return (np.diff(edges, axis=1) - 1) / divisions
