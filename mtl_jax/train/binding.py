"""A loss function of parameters and a batch as one of the parameters alone."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import jax

from mtl_jax import engine
from mtl_jax.train import accumulation
from mtl_jax.train.activations import Activations
from mtl_jax.typing import Array, Batch, PyTree

EVERYTHING = Activations()


def bind(
    losses_fn: Callable[..., Any] | engine.SplitLosses,
    batch: Batch,
    *,
    key: Array | None,
    collections: PyTree,
    axis_name: str | None,
    activations: Activations = EVERYTHING,
) -> Callable[..., Any] | engine.SplitLosses:
    """A loss function of the parameters alone, for the engine.

    Args:
        losses_fn: as for `make_train_step`.
        batch: of this device.
        key: PRNG key of the model, or `None`.
        collections: mutable state of the model; a pair where the function is split.
        axis_name: the data-parallel axis, or `None`.
        activations: what is kept of the forward pass.

    Returns:
        A function of the same form: `(shared, specific)`, or a `SplitLosses`.
    """
    call = functools.partial(_call, axis_name=axis_name)
    if not isinstance(losses_fn, engine.SplitLosses):
        one = call(losses_fn, 2)
        if activations.accumulate > 1:
            one = accumulation.losses_in_parts(one, activations)
        else:
            one = activations.limited(one)

        def bound(shared: PyTree, specific: PyTree) -> Any:
            return one(shared, specific, batch, key, collections)

        reason = getattr(losses_fn, "no_representation", None)
        bound.no_representation = reason  # type: ignore[attr-defined]
        return bound
    trunk, heads = collections or ((), ())
    head_key = None if key is None else jax.random.fold_in(key, 1)
    encode = call(losses_fn.encode, 1)
    if activations.accumulate > 1:
        encode = accumulation.encode_in_parts(encode, activations)
    else:
        encode = activations.limited(encode)

    def of_heads(function: Callable[..., Any]) -> Callable[..., Any]:
        one = call(function, 2)
        return lambda specific, zs: one(specific, zs, batch, head_key, heads)

    stacked = losses_fn.stacked
    return losses_fn._replace(
        encode=lambda shared: encode(shared, batch, key, trunk),
        losses=of_heads(losses_fn.losses),
        stacked=stacked and engine.StackedLosses(*map(of_heads, stacked)),
    )


def _call(
    function: Callable[..., Any], position: int, axis_name: str | None
) -> Callable[..., Any]:
    """`(*parameters, batch, key, collections)`, with `position` parameters.

    The function gets those of the keywords that its signature names.
    """
    named = inspect.signature(function).parameters
    anything = any(p.kind is p.VAR_KEYWORD for p in named.values())

    def called(*arguments: Any) -> Any:
        given, (key, collections) = arguments[: position + 1], arguments[position + 1 :]
        keywords = {"key": key, "collections": collections, "axis_name": axis_name}
        taken = {k: v for k, v in keywords.items() if anything or k in named}
        return function(*given, **taken)

    return called
