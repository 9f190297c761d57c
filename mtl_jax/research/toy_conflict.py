"""Two losses of two parameters whose gradients conflict, in a landscape of valleys.

The toy problem of the CAGrad paper (Liu, Liu, Jin, Stone and Liu, NeurIPS 2021), with
the starts and the scaled first loss of the Nash-MTL paper (Navon et al., ICML 2022).
Where `x2 > 0` the losses fall into narrow logarithmic valleys, along which one gradient
is long and the other, against it, short; where `x2 < 0` they are two bowls. On the way
from one to the other a plain sum gets stuck, and so do methods that one gradient
dominates.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mtl_jax import weighting
from mtl_jax.errors import unknown_name
from mtl_jax.typing import Array

STARTS = ((-8.5, 7.5), (0.0, 0.0), (9.0, 9.0), (-7.5, -0.5), (9.0, -1.0))
"""The five starts of the Nash-MTL paper."""

ON_FRONT = 0.05
"""How near to the Pareto set a point counts as on it."""

_FLOOR = 5e-6
_LOWER_BOUND = -21.0  # of both losses before the scale


def losses(x: Array, scale: float | Array = 0.1) -> Array:
    """The two losses.

    Args:
        x: `[2]`.
        scale: factor of the first loss; the CAGrad paper's is 1.

    Returns:
        `[2]`.

    Example:
        >>> [round(float(f), 4) for f in losses(jnp.array([-8.5, 7.5]), 1.0)]
        [6.5524, 7.9008]
    """
    x1, x2 = x
    tanh = jnp.tanh(x2)
    valley1 = jnp.log(_at_least(jnp.abs(0.5 * (-x1 - 7) + tanh), _FLOOR)) + 6
    valley2 = jnp.log(_at_least(jnp.abs(0.5 * (3 - x1) - tanh + 2), _FLOOR)) + 6
    upper = _at_least(jnp.tanh(0.5 * x2), 0)
    lower = _at_least(jnp.tanh(-0.5 * x2), 0)
    bowl1 = ((7 - x1) ** 2 + 0.1 * (x2 + 8) ** 2) / 10 - 20
    bowl2 = ((x1 + 7) ** 2 + 0.1 * (x2 + 8) ** 2) / 10 - 20
    return jnp.stack(
        [
            scale * (valley1 * upper + bowl1 * lower),
            valley2 * upper + bowl2 * lower,
        ]
    )


def _at_least(value: Array, bound: float) -> Array:
    """The maximum; at a tie the whole derivative is that of `value`.

    (Half of it, which `jnp.maximum` has, is another problem on the line `x2 = 0`.)
    """
    return jnp.where(value >= bound, value, bound)


def bounds(scale: float | Array = 0.1) -> Array:
    """Lower bounds of the two losses, `[2]`."""
    return jnp.stack([_LOWER_BOUND * jnp.asarray(scale), jnp.asarray(_LOWER_BOUND)])


def pareto_set(x1: np.ndarray) -> np.ndarray:
    """The `x2` of the Pareto set, for `x1` in [-7, 7]; the scale does not matter.

    The set is where a weighted sum of the bowls is least: along `x1` the sum is
    `(49 − x1²)/10 + 0.01 (x2 + 8)² − 20` at the best weights, and `x2` is the root of
    the derivative of that times `tanh(−x2/2)`.

    Example:
        >>> pareto_set(np.array([0.0, 7.0])).round(4).tolist()
        [-8.3551, -8.4345]
    """

    def slope(x2: np.ndarray) -> np.ndarray:
        bowl = (49 - x1**2) / 10 + 0.01 * (x2 + 8) ** 2 - 20
        tanh = np.tanh(-0.5 * x2)
        return -0.5 * (1 - tanh**2) * bowl + 0.02 * (x2 + 8) * tanh

    x1 = np.asarray(x1, np.float64)
    low, high = np.full_like(x1, -9.0), np.full_like(x1, -8.0)
    for _ in range(60):  # bisection; the slope is negative at low
        middle = (low + high) / 2
        below = slope(middle) < 0
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return (low + high) / 2


def distance_to_front(x: np.ndarray) -> np.ndarray:
    """How far points `[..., 2]` are from the Pareto set, in parameters."""
    x1 = np.linspace(-7, 7, 4001)
    front = np.stack([x1, pareto_set(x1)], -1)
    return np.min(np.linalg.norm(np.asarray(x)[..., None, :] - front, axis=-1), -1)


class Choice(NamedTuple):
    """Which methods run, and why the others do not."""

    methods: dict[str, weighting.Method]
    hyper: dict[str, dict[str, Any]]
    left_out: dict[str, str]  # name to reason


HYPER: dict[str, dict[str, Any]] = {
    "cagrad": {"c": 0.4},
    "famo": {"gamma": 0.0},
    "gradnorm": {"where": "all"},
    "static": {"weights": (10.0, 1.0)},
    "stch": {"mu": 1.0},
}
"""Hyper-parameters of the papers' runs, or that have no default; else the defaults.
(The static weights undo the scale 0.1.)"""


def choose(names: Sequence[str] | None = None) -> Choice:
    """The methods by these names, or all, without those that the problem does not suit.

    Raises:
        ValueError: an unknown name.

    Example:
        >>> choice = choose(["mgda", "krum"])
        >>> list(choice.methods), list(choice.left_out)
        (['mgda'], ['krum'])
    """
    made: dict[str, weighting.Method] = {}
    hyper: dict[str, dict[str, Any]] = {}
    left_out: dict[str, str] = {}
    for name in weighting.METHODS if names is None else names:
        if name not in weighting.METHODS:
            raise unknown_name("method", name, weighting.METHODS)
        given = HYPER.get(name, {})
        method = weighting.make(name, **given)
        if isinstance(method, weighting.BilevelWeighting):
            left_out[name] = "it learns from validation data, and there are no data"
            continue
        try:
            method.init(2, jnp.zeros(2))
        except ValueError as error:
            left_out[name] = str(error)
            continue
        made[name], hyper[name] = method, given
    return Choice(made, hyper, left_out)


def run(
    methods: Mapping[str, weighting.Method],
    *,
    steps: int = 35_000,
    scale: float = 0.1,
    every: int = 50,
    starts: Sequence[Sequence[float]] = STARTS,
    learning_rate: float = 1e-3,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Descend from all starts with all methods, side by side in one compiled program.

    Each method and start has an Adam of its own. Methods that read the losses get them
    counted from their lower bounds, for some take logarithms; methods that count epochs
    get one every 100 steps.

    Args:
        methods: name to method.
        steps: of Adam.
        scale: factor of the first loss.
        every: the steps between two recorded points; divides `steps`.
        starts: `[S, 2]`.
        learning_rate: of Adam.
        seed: of the random methods.

    Returns:
        Name to trajectory `[S, 1 + steps / every, 2]`, from the start on, in the dtype
        of JAX (float64 under `jax.enable_x64`).

    Raises:
        ValueError: `every` does not divide `steps`.

    Example:
        >>> path = run({"sum": weighting.equal()}, steps=10, every=5)["sum"]
        >>> path.shape
        (5, 3, 2)
    """
    if steps % every:
        raise ValueError(
            f"run of {steps} steps cannot record every {every}; give a divisor of steps"
        )
    adam = optax.adam(learning_rate)
    first = jnp.asarray(starts, jnp.zeros(()).dtype)

    def above_bounds(x: Array) -> Array:
        return losses(x, scale) - bounds(scale).astype(x.dtype)

    def initial(method: weighting.Method) -> Any:
        x = first[0]
        carry = adam.init(x), method.init(2, x)
        return jax.tree.map(
            lambda leaf: jnp.broadcast_to(leaf, (len(first), *leaf.shape)), carry
        )

    def move(
        method: weighting.Method, x: Array, carry: Any, step: Array, key: Array
    ) -> tuple[Array, Any]:
        optimizer, state = carry
        values = above_bounds(x)
        found = weighting.aggregate(
            method,
            jax.jacrev(above_bounds)(x),
            losses=values,
            state=state,
            key=key,
            step=step,
            epoch=step // 100,
        )
        state = found.state
        updates, optimizer = adam.update(found.direction, optimizer, x)
        x = x + updates
        if method.observe is not None:
            state = method.observe(values, above_bounds(x), state)
        return x, (optimizer, state)

    def one(carry: dict[str, Any], step: Array) -> tuple[dict[str, Any], None]:
        key = jax.random.fold_in(jax.random.key(seed), step)
        keys = jax.random.split(key, len(first))
        moved = {}
        for name, method in methods.items():
            x, rest = carry[name]
            moved[name] = jax.vmap(
                lambda x, rest, key, method=method: move(method, x, rest, step, key)
            )(x, rest, keys)
        return moved, None

    @jax.jit
    def descend() -> dict[str, Array]:
        def some(carry: dict[str, Any], start: Array) -> tuple[dict[str, Any], Any]:
            index = start + jnp.arange(every, dtype=jnp.int32)
            carry, _ = jax.lax.scan(one, carry, index)
            return carry, {name: x for name, (x, _) in carry.items()}

        carry = {name: (first, initial(m)) for name, m in methods.items()}
        begins = jnp.arange(0, steps, every, dtype=jnp.int32)
        return jax.lax.scan(some, carry, begins)[1]

    found = jax.device_get(descend())
    return {
        name: np.concatenate([first[:, None], np.swapaxes(found[name], 0, 1)], axis=1)
        for name in methods
    }
