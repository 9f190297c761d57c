"""Models that compute in bfloat16, with parameters in float32."""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from mtl_jax.errors import unknown_name
from mtl_jax.models.base import Model, StackedHeads
from mtl_jax.typing import Array, PyTree

DTYPES = ("float32", "bfloat16")


def in_dtype(model: Model, dtype: str) -> Model:
    """The same model, computing in another dtype.

    Parameters and floating inputs are cast where they enter the model, so the gradients
    and the optimizer see float32. Outputs are cast back, and so is the representation:
    losses and Gramians are float32. Mutable state (batch statistics) is not cast.
    Layers of Linen that were given no dtype of their own also cast what they are
    passed, so that a model that makes floats of its inputs by itself computes in
    `dtype` too; a layer made with `dtype=jnp.float32` goes on in float32.

    Args:
        model: any model.
        dtype: "bfloat16"; or "float32", which returns the model as it is.

    Returns:
        A `Model` with the same parameters.

    Raises:
        ValueError: another dtype.

    Example:
        >>> from mtl_jax.models import MLP, HardSharing, from_linen
        >>> net = HardSharing(MLP((8,)), {"a": nn.Dense(3)})
        >>> model = in_dtype(from_linen(net), "bfloat16")
        >>> variables = model.init(jax.random.key(0), jnp.ones((2, 4)))
        >>> outputs, _ = model.apply(*variables, jnp.ones((2, 4)))
        >>> outputs["a"].dtype
        dtype('float32')
    """
    if dtype not in DTYPES:
        raise unknown_name("dtype to compute in (compute_dtype)", dtype, DTYPES)
    if dtype == "float32":
        return model
    narrow = jnp.dtype(dtype)
    return model._replace(
        apply=_computing(model.apply, 2, narrow),
        encode=model.encode and _computing(model.encode, 1, narrow),
        decode=model.decode and _computing(model.decode, 1, narrow),
        stacked=model.stacked and _stacked(model.stacked, narrow),
    )


def _stacked(heads: StackedHeads, dtype: Any) -> StackedHeads:
    """Heads that are computed together, and their gradients, in another dtype."""

    def pull(
        specific: PyTree,
        collections: PyTree,
        representation: PyTree,
        cotangents: PyTree,
        **keywords: Any,
    ) -> tuple[PyTree, PyTree]:
        params, z = _narrow((specific, representation), dtype)
        with nn.intercept_methods(_casting(dtype)):
            found = heads.pull(params, collections, z, cotangents, **keywords)
        return tuple(_widen(tree, dtype) for tree in found)

    return heads._replace(apply=_computing(heads.apply, 1, dtype), pull=pull)


def _computing(
    function: Callable[..., Any], position: int, dtype: Any
) -> Callable[..., Any]:
    """A function of a model; `position` arguments are parameters, one is state."""

    @functools.wraps(function)
    def computing(*arguments: PyTree, **keywords: Any) -> tuple[PyTree, PyTree]:
        params, (collections, inputs) = arguments[:position], arguments[position:]
        with nn.intercept_methods(_casting(dtype)):
            out, changed = function(
                *_narrow(params, dtype), collections, _narrow(inputs, dtype), **keywords
            )
        return _widen(out, dtype), changed

    return computing


def _casting(dtype: Any) -> Callable[..., Any]:
    """An interceptor: layers without a dtype of their own are passed this one."""

    def interceptor(
        call: Callable[..., Any], args: Any, kwargs: Any, context: Any
    ) -> Any:
        module = context.module
        layer = hasattr(module, "param_dtype") and getattr(module, "dtype", 0) is None
        # The state of a recurrent cell has to come out in the dtype it came in.
        if layer and not isinstance(module, nn.RNNCellBase):
            args, kwargs = _narrow((args, kwargs), dtype)
        return call(*args, **kwargs)

    return interceptor


def _narrow(values: PyTree, dtype: Any) -> PyTree:
    """Float32 and wider arrays in `dtype`."""

    def cast(value: Any) -> Any:
        wide = hasattr(value, "dtype") and jnp.issubdtype(value.dtype, jnp.floating)
        if not wide or value.dtype.itemsize <= dtype.itemsize:
            return value
        return jnp.asarray(value, dtype)

    return jax.tree.map(cast, values)


def _widen(values: PyTree, dtype: Any) -> PyTree:
    def cast(value: Array) -> Array:
        return value.astype(jnp.float32) if value.dtype == dtype else value

    return jax.tree.map(cast, values)
