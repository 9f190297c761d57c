"""A Linen module as a pure function of its variables."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn

from mtl_jax.models.cross_moment import CrossMoment
from mtl_jax.typing import Array, PyTree


def run(
    module: nn.Module,
    method: str | Callable[..., Any] | None,
    params: PyTree,
    collections: PyTree,
    inputs: PyTree,
    train: bool,
    key: Array | None,
    axis_name: str | None,
) -> tuple[Any, PyTree]:
    """Call a method of a module: what it returns, and its collections after it.

    Args:
        module: the module.
        method: called with `(inputs, train)`; default: `__call__`.
        params: of the module.
        collections: mutable state; `()` without any.
        inputs: passed on.
        train: passed on; collections change in training only.
        key: of dropout, or `None`.
        axis_name: the data-parallel axis, over which statistics of a batch are
            synchronised: those of BatchNorm and `CrossMoment`.
    """
    collections = dict(collections) if collections else {}
    rngs = None if key is None else {"dropout": key}
    with nn.intercept_methods(_synchronise(axis_name)):
        out, changed = module.apply(
            {"params": params, **collections},
            inputs,
            train,
            rngs=rngs,
            method=method,
            mutable=list(collections) if train else [],
        )
    return out, ({**collections, **changed} or ())


def _synchronise(axis_name: str | None) -> Callable[..., Any]:
    """An interceptor that gives layers with batch statistics the data-parallel axis.

    Without it, each device would normalise by its own part of the batch and keep its
    own running statistics: another result than on one device, and without an error.
    """

    def interceptor(
        call: Callable[..., Any], args: Any, kwargs: Any, context: Any
    ) -> Any:
        if axis_name is not None and isinstance(
            context.module, nn.BatchNorm | CrossMoment
        ):
            # Modules are frozen; this one is a copy that lives for this call alone.
            object.__setattr__(context.module, "axis_name", axis_name)
        return call(*args, **kwargs)

    return interceptor
