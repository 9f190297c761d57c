"""The two factors of the gradients of a weight: inputs and cotangents."""

import itertools
import math
from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mtl_jax.engine.gramian.walk import Use
from mtl_jax.typing import Array

_SLICED = 49
"""Windows up to this size are cut out with slices, larger ones with a convolution."""


class Outer(NamedTuple):
    """`dW_t = inputsᵀ cotangents[t]`, for each of H blocks of the weight.

    Blocks are the batch dimensions of a product or the groups of a convolution; sites
    are examples, times positions where a weight is used at several.
    """

    inputs: Array  # [H, N, I]
    cotangents: Array  # [T, H, N, O]


class Rows(NamedTuple):
    """`dW_t[r]` is the sum of `cotangents[t, n]` over the n with `rows[n] = r`."""

    rows: Array  # [N] int32; `num_rows` where a lookup was out of bounds
    cotangents: Array  # [T, N, O]
    num_rows: int


class Size(NamedTuple):
    """The static size of a factor, for what it costs."""

    blocks: int  # H
    sites: int  # N
    fan_in: int  # I
    fan_out: int  # O


def signature(use: Use) -> Hashable | None:
    """What two uses of a weight must have in common to be added up; `None`: unknown."""
    params = use.params
    if use.primitive == "dot_general":
        contract, batch = params["dimension_numbers"]
        side = use.operand
        return ("dot", contract[side], batch[side], use.weight_shape)
    if use.primitive == "conv_general_dilated":
        if params["batch_group_count"] != 1:
            return None
        return (
            "conv",
            params["dimension_numbers"].rhs_spec,
            params["feature_group_count"],
            use.weight_shape,
        )
    return ("rows", use.weight_shape) if _looks_up_rows(use) else None


def size(use: Use) -> Size:
    """How large the factor of a use will be."""
    if use.primitive == "dot_general":
        contract, batch = use.params["dimension_numbers"]
        side = use.operand
        blocks = math.prod(use.weight_shape[i] for i in batch[side])
        fan_in = math.prod(use.weight_shape[i] for i in contract[side])
        fan_out = math.prod(use.weight_shape) // max(blocks * fan_in, 1)
        sites = math.prod(use.output.shape) // max(blocks * fan_out, 1)
        return Size(blocks, sites, fan_in, fan_out)
    if use.primitive == "conv_general_dilated":
        out, *_ = use.params["dimension_numbers"].rhs_spec
        blocks = use.params["feature_group_count"]
        features = use.weight_shape[out]
        fan_in = math.prod(use.weight_shape) // max(features, 1)
        sites = math.prod(use.output.shape) // max(features, 1)
        return Size(blocks, sites, fan_in, features // blocks)
    width = math.prod(use.weight_shape[1:])
    return Size(1, math.prod(use.output.shape) // max(width, 1), 1, width)


def factor(use: Use, inputs: Sequence[Array], cotangents: Array) -> Outer | Rows:
    """The factors of one use.

    Args:
        use: the product.
        inputs: its other operands.
        cotangents: `[T, ...]`, of its outcome.
    """
    if use.primitive == "dot_general":
        return _of_dot(use, inputs[0], cotangents)
    if use.primitive == "conv_general_dilated":
        return _of_conv(use, inputs[0], cotangents)
    return _of_lookup(use, inputs[0], cotangents)


def joined(factors: Sequence[Outer] | Sequence[Rows]) -> Outer | Rows:
    """Several uses of one weight as one, so that cross terms count."""
    if len(factors) == 1:
        return factors[0]
    if isinstance(factors[0], Rows):
        return Rows(
            jnp.concatenate([f.rows for f in factors]),  # type: ignore[union-attr]
            jnp.concatenate([f.cotangents for f in factors], axis=1),
            factors[0].num_rows,
        )
    return Outer(
        jnp.concatenate([f.inputs for f in factors], axis=1),  # type: ignore[union-attr]
        jnp.concatenate([f.cotangents for f in factors], axis=2),
    )


def _of_dot(use: Use, x: Array, cotangents: Array) -> Outer:
    contract, batch = use.params["dimension_numbers"]
    side = 1 - use.operand
    free = [i for i in range(x.ndim) if i not in (*contract[side], *batch[side])]
    shape = size(use)
    inputs = jnp.transpose(x, (*batch[side], *free, *contract[side]))
    inputs = inputs.reshape(shape.blocks, shape.sites, shape.fan_in)
    t = cotangents.shape[0]
    if side == 0:  # the outcome is [batch, sites, outputs]
        flat = cotangents.reshape(t, shape.blocks, shape.sites, shape.fan_out)
    else:
        flat = cotangents.reshape(t, shape.blocks, shape.fan_out, shape.sites)
        flat = jnp.swapaxes(flat, 2, 3)
    return Outer(inputs, flat)


def _of_conv(use: Use, x: Array, cotangents: Array) -> Outer:
    numbers, shape = use.params["dimension_numbers"], size(use)
    batch, features, *space = numbers.lhs_spec
    x = jnp.transpose(x, (batch, *space, features))
    window = [use.weight_shape[i] for i in numbers.rhs_spec[2:]]
    cut = _patches(x, window, use.params)  # [B, S…, C, K]
    channels = x.shape[-1] // shape.blocks
    inputs = cut.reshape(shape.sites, shape.blocks, channels * math.prod(window))
    batch, features, *space = numbers.out_spec
    order = (0, batch + 1, *(i + 1 for i in space), features + 1)
    flat = jnp.transpose(cotangents, order).reshape(
        cotangents.shape[0], shape.sites, shape.blocks, shape.fan_out
    )
    return Outer(jnp.swapaxes(inputs, 0, 1), jnp.swapaxes(flat, 1, 2))


def _patches(x: Array, window: Sequence[int], params: dict[str, Any]) -> Array:
    """What the windows of a convolution see, `[B, S…, C]` to `[B, S…, C, K]`."""
    dims = range(len(window))
    strides, dilation = params["window_strides"], params["rhs_dilation"]
    padding = [
        (low, high, step - 1)
        for (low, high), step in zip(
            params["padding"], params["lhs_dilation"], strict=True
        )
    ]
    zero = jnp.zeros((), x.dtype)
    x = jax.lax.pad(x, zero, [(0, 0, 0), *padding, (0, 0, 0)])
    reach = [(window[d] - 1) * dilation[d] + 1 for d in dims]
    out = [(x.shape[d + 1] - reach[d]) // strides[d] + 1 for d in dims]
    if all(strides[d] == reach[d] == window[d] for d in dims):
        return _tiles(x, window, out)
    if math.prod(window) > _SLICED:
        return _patches_by_convolution(x, window, strides, dilation)

    def cut(offset: Sequence[int]) -> Array:
        start = [offset[d] * dilation[d] for d in dims]
        limit = [start[d] + (out[d] - 1) * strides[d] + 1 for d in dims]
        return jax.lax.slice(
            x,
            (0, *start, 0),
            (x.shape[0], *limit, x.shape[-1]),
            (1, *strides, 1),
        )

    offsets = itertools.product(*(range(k) for k in window))
    return jnp.stack([cut(offset) for offset in offsets], axis=-1)


def _tiles(x: Array, window: Sequence[int], out: Sequence[int]) -> Array:
    """Windows that lie side by side, as in the patches of a vision transformer."""
    dims = range(len(window))
    ends = tuple(n * k for n, k in zip(out, window, strict=True))
    x = jax.lax.slice(x, (0,) * x.ndim, (x.shape[0], *ends, x.shape[-1]))
    split = [n for pair in zip(out, window, strict=True) for n in pair]
    x = x.reshape(x.shape[0], *split, x.shape[-1])
    order = (0, *(2 * d + 1 for d in dims), x.ndim - 1, *(2 * d + 2 for d in dims))
    return jnp.transpose(x, order).reshape(x.shape[0], *out, x.shape[-1], -1)


def _patches_by_convolution(
    x: Array, window: Sequence[int], strides: Sequence[int], dilation: Sequence[int]
) -> Array:
    dims = tuple(range(len(window)))
    last = len(window) + 1
    spec = jax.lax.ConvDimensionNumbers(
        (0, last, *(d + 1 for d in dims)),
        (last, last - 1, *dims),
        (0, last, *(d + 1 for d in dims)),
    )
    cut = jax.lax.conv_general_dilated_patches(
        x,
        window,
        strides,
        "VALID",
        rhs_dilation=dilation,
        dimension_numbers=spec,
        precision=jax.lax.Precision.HIGHEST,
    )
    return cut.reshape(*cut.shape[:-1], x.shape[-1], math.prod(window))


def _looks_up_rows(use: Use) -> bool:
    """Whether a gather takes whole rows of a table `[V, …]`."""
    numbers = use.params["dimension_numbers"]
    width = len(use.weight_shape) - 1
    rank = len(use.output.shape)
    return (
        use.operand == 0
        and numbers.collapsed_slice_dims == (0,)
        and numbers.start_index_map == (0,)
        and not numbers.operand_batching_dims
        and use.params["slice_sizes"] == (1, *use.weight_shape[1:])
        and numbers.offset_dims == tuple(range(rank - width, rank))
    )


def _of_lookup(use: Use, index: Array, cotangents: Array) -> Rows:
    shape, num_rows = size(use), use.weight_shape[0]
    rows = index.reshape(shape.sites)
    if use.params["mode"] == jax.lax.GatherScatterMode.CLIP:
        rows = jnp.clip(rows, 0, num_rows - 1)
    rows = jnp.where((rows >= 0) & (rows < num_rows), rows, num_rows)
    flat = cotangents.reshape(cotangents.shape[0], shape.sites, shape.fan_out)
    return Rows(rows.astype(jnp.int32), flat, num_rows)
