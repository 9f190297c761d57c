"""Inner products of the gradients of one weight, by the cheaper of two ways.

With `dW_t = AᵀD_t` there are two ways to `<dW_t, dW_s>`: make the gradients, or

    <AᵀD_t, AᵀD_s> = <K D_t, D_s>,   K = A Aᵀ [N, N],

which never makes them (the *ghost* way). It is cheaper where a weight is used at fewer
sites than it has inputs. The products of two samples have `K = A_1 A_2ᵀ`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from mtl_jax import tree
from mtl_jax.engine.collectives import Reduce
from mtl_jax.engine.gramian.factors import Outer, Rows, Size
from mtl_jax.typing import Array

HIGHEST = jax.lax.Precision.HIGHEST

TRAFFIC = 32
"""Operations in the time of one number to or from memory, on processors of any kind."""


class Cost(NamedTuple):
    """What a way costs one device."""

    operations: float  # those that memory would have had the time for, too
    bytes_moved: float


def cost(
    way: str, kind: str, size: Size, num_tasks: int, devices: int, width: int = 4
) -> Cost:
    """Operations, and bytes that cross devices.

    Args:
        way: "ghost" or "layerwise".
        kind: "dot", "conv" or "rows".
        size: of one device's factor.
        num_tasks: T.
        devices: how many share the batch.
        width: bytes of a number of the factors.

    Example:
        >>> size = Size(blocks=1, sites=64, fan_in=768, fan_out=512)
        >>> ghost, layerwise = (cost(w, "dot", size, 40, 1) for w in WAYS)
        >>> round(layerwise.operations / ghost.operations, 1)
        11.8
    """
    h, n, i, o = size
    t, all_sites = num_tasks, n * devices
    crossing = devices - 1
    if way == "ghost":
        moved = crossing * width * h * n * (i + t * o)
        if kind == "rows":
            return Cost(2 * t * n * o + 2 * t * t * all_sites * o, moved)
        gathered = 2 * h * n * all_sites * (i + t * o) + 2 * t * t * h * n * o
        written = 2 * h * n * (all_sites + t * o)
        return Cost(gathered + TRAFFIC * written, moved)
    reduced = 2 * crossing / devices * 4 * t * h * i * o
    made = 2 * t * h * n * i * o + 2 * t * t * h * i * o
    return Cost(made + TRAFFIC * 2 * t * h * i * o, reduced)


WAYS = ("ghost", "layerwise")


def ghost(first: Outer | Rows, second: Outer | Rows, reduce: Reduce) -> Array:
    """`[T, T]` without the gradients; the second factor is gathered from all devices.

    Args:
        first: the factors of the rows, this device's sites.
        second: of the columns; the same as `first` for one sample.
        reduce: over the devices.

    Returns:
        The inner products of the sums over the devices, equal on all of them.
    """
    if isinstance(first, Rows):
        assert isinstance(second, Rows)
        return _ghost_rows(first, second, reduce)
    assert isinstance(second, Outer)
    wide = jnp.promote_types(first.cotangents.dtype, jnp.float32)
    # Where examples look alike, A = A' + 1 μᵀ has a large mean μ, and the products of
    # the means cancel in K. They are split off:
    #   AᵀD_t = A'ᵀD_t + μ u_tᵀ,   u_t = Σ_n D_t[n],   v_t = Σ_n (A'μ)[n] D_t[n]
    #   <A_1ᵀD_t, A_2ᵀD_s> = <K'D_t, D_s> + <v_t, u_s> + <u_t, v_s> + |μ|² <u_t, u_s>
    mean = reduce.sum(jnp.mean(first.inputs.astype(wide), axis=1)) / reduce.size()

    def centred(factor: Outer) -> tuple[Array, Array]:
        """Inputs A', cotangents D; of the sites of all devices."""
        inputs = factor.inputs.astype(wide) - mean[:, None, :]
        return inputs, factor.cotangents.astype(wide)

    def sums(inputs: Array) -> Array:
        """The rows that make u and v, `[H, 2, N]`, to be multiplied with D."""
        slopes = jnp.einsum("hni,hi->hn", inputs, mean, precision=HIGHEST)
        return jnp.stack([jnp.ones_like(slopes), slopes], axis=1)

    def times(rows: Array, cotangents: Array) -> Array:
        return jnp.einsum("hnm,shmo->hnso", rows, cotangents, precision=HIGHEST)

    inputs, cotangents = centred(first)
    others, others_along = (inputs, cotangents) if second is first else centred(second)
    others = reduce.gather(others, axis=1)
    kernel = jnp.einsum("hni,hmi->hnm", inputs, others, precision=HIGHEST)
    others_along = reduce.gather(others_along, axis=2)
    smoothed = times(kernel, others_along)
    made = times(sums(others), others_along)
    u_, v_ = made[:, 0], made[:, 1]
    product = jnp.einsum("thno,hnso->ts", cotangents, smoothed, precision=HIGHEST)
    u, v = u_, v_
    if second is not first:
        both = reduce.sum(times(sums(inputs), cotangents))
        u, v = both[:, 0], both[:, 1]
    size = jnp.sum(mean**2, axis=1)[:, None, None]
    of_means = jnp.einsum("hto,hso->ts", v + size * u, u_, precision=HIGHEST)
    of_means += jnp.einsum("hto,hso->ts", u, v_, precision=HIGHEST)
    return reduce.sum(product) + of_means


def _ghost_rows(first: Rows, second: Rows, reduce: Reduce) -> Array:
    """Only rows that this batch reads have a gradient, N of them at most."""
    rows = [reduce.gather(f.rows, axis=0) for f in (first, second)]
    wide = jnp.promote_types(first.cotangents.dtype, jnp.float32)
    many = sum(len(r) for r in rows)
    limit = min(many, first.num_rows + 1)
    seen = jnp.unique(jnp.concatenate(rows), size=limit, fill_value=first.num_rows)

    def compact(factor: Rows) -> Array:
        """`[T, rows that are read, O]`, of this device's sites."""
        place = jnp.searchsorted(seen, factor.rows)
        kept = jnp.where(
            (factor.rows < factor.num_rows)[None, :, None], factor.cotangents, 0
        )
        add = jax.vmap(
            lambda c: jax.ops.segment_sum(c.astype(wide), place, num_segments=limit)
        )
        return reduce.sum(add(kept))

    a = compact(first)
    b = a if second is first else compact(second)
    return jnp.einsum("tro,sro->ts", a, b, precision=HIGHEST)


def layerwise(first: Outer | Rows, second: Outer | Rows, reduce: Reduce) -> Array:
    """`[T, T]` with the gradients of this weight alone, averaged over the devices."""
    a = gradients(first, reduce)
    b = a if second is first else gradients(second, reduce)
    return tree.cross_gramian(a, b)


def gradients(factor: Outer | Rows, reduce: Reduce) -> Array:
    """The gradients of all tasks, `[T, H, I, O]` or `[T, V, O]`, over all devices."""
    wide = jnp.promote_types(factor.cotangents.dtype, jnp.float32)
    if isinstance(factor, Rows):
        add = jax.vmap(
            lambda c: jax.ops.segment_sum(
                c.astype(wide), factor.rows, num_segments=factor.num_rows
            )
        )
        return reduce.sum(add(factor.cotangents))
    made = jnp.einsum(
        "hni,thno->thio",
        factor.inputs,
        factor.cotangents,
        precision=HIGHEST,
        preferred_element_type=wide,
    )
    return reduce.sum(made)
