"""Flax Linen modules as models."""

from collections.abc import Callable, Collection
from typing import Any

import flax.linen as nn

from mtl_jax.models.base import Model, Variables
from mtl_jax.typing import Array, PyTree


def from_linen(module: nn.Module) -> Model:
    """The pure functions of a Linen module.

    The module says which of its top-level parameters are shared with a method or
    attribute `shared_names`, a tuple of names; the others are task-specific. Its
    `__call__(inputs, train)` returns `{task: outputs}`; with `encode(inputs, train)`
    and `decode({task: representation}, train)` it has a representation. Modules that
    use dropout read the stream "dropout". BatchNorm layers are synchronised over the
    data-parallel axis, whether or not they name it.

    Args:
        module: the Linen module, e.g. a `HardSharing`.

    Returns:
        A `Model`.

    Raises:
        ValueError: the module does not say what is shared, or names what it does not
            have.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from mtl_jax.models import MLP, HardSharing
        >>> net = HardSharing(MLP((8,)), {"a": nn.Dense(3), "b": nn.Dense(1)})
        >>> model = from_linen(net)
        >>> variables = model.init(jax.random.key(0), jnp.ones((2, 4)))
        >>> sorted(variables.shared), sorted(variables.specific)
        (['trunk'], ['heads_a', 'heads_b'])
    """
    names = getattr(module, "shared_names", None)
    if names is None:
        raise ValueError(
            f"{type(module).__name__} does not say which parameters are shared: give "
            "it an attribute shared_names, a tuple of names of top-level submodules "
            "(the others are task-specific)"
        )
    shared_names = tuple(names() if callable(names) else names)

    def init(key: Array, inputs: Array) -> Variables:
        variables = dict(module.init({"params": key, "dropout": key}, inputs, False))
        params = variables.pop("params")
        missing = [name for name in shared_names if name not in params]
        if missing:
            raise ValueError(
                f"{type(module).__name__}.shared_names has {missing}, but its "
                f"top-level parameters are {sorted(params)}"
            )
        trunk, heads = _split({"params": params, **variables}, shared_names)
        return Variables(
            trunk.pop("params"), heads.pop("params", {}), (trunk or (), heads or ())
        )

    def run(
        method: str | None,
        params: PyTree,
        collections: PyTree,
        inputs: PyTree,
        train: bool,
        key: Array | None,
        axis_name: str | None,
    ) -> tuple[Any, PyTree]:
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

    def apply(
        shared: PyTree,
        specific: PyTree,
        collections: PyTree,
        inputs: PyTree,
        *,
        train: bool = False,
        key: Array | None = None,
        axis_name: str | None = None,
    ) -> tuple[dict[str, Any], PyTree]:
        merged = _merge(*[part or {} for part in collections or ((), ())])
        out, merged = run(
            None, {**shared, **specific}, merged, inputs, train, key, axis_name
        )
        trunk, heads = _split(merged or {}, shared_names)
        return out, (trunk or (), heads or ())

    def encode(
        shared: PyTree,
        collections: PyTree,
        inputs: PyTree,
        *,
        train: bool = False,
        key: Array | None = None,
        axis_name: str | None = None,
    ) -> tuple[PyTree, PyTree]:
        return run("encode", shared, collections, inputs, train, key, axis_name)

    def decode(
        specific: PyTree,
        collections: PyTree,
        representations: dict[str, PyTree],
        *,
        train: bool = False,
        key: Array | None = None,
        axis_name: str | None = None,
    ) -> tuple[dict[str, Any], PyTree]:
        return run(
            "decode", specific, collections, representations, train, key, axis_name
        )

    if hasattr(module, "encode") and hasattr(module, "decode"):
        return Model(init, apply, encode, decode)
    return Model(init, apply)


def _split(variables: dict[str, Any], names: Collection[str]) -> tuple[dict, dict]:
    """Cut every collection into the submodules in `names` and the others."""
    shared: dict[str, Any] = {}
    others: dict[str, Any] = {}
    for collection, tree in variables.items():
        for name, value in tree.items():
            side = shared if name in names else others
            side.setdefault(collection, {})[name] = value
    return shared, others


def _merge(left: dict[str, Any], right: dict[str, Any]) -> dict[str, Any]:
    keys = {**left, **right}
    return {k: {**left.get(k, {}), **right.get(k, {})} for k in keys}


def _synchronise(axis_name: str | None) -> Callable[..., Any]:
    """An interceptor that gives every BatchNorm the data-parallel axis.

    Without it, each device would normalise by its own part of the batch and keep its
    own running statistics: another result than on one device, and without an error.
    """

    def interceptor(
        call: Callable[..., Any], args: Any, kwargs: Any, context: Any
    ) -> Any:
        if axis_name is not None and isinstance(context.module, nn.BatchNorm):
            # Modules are frozen; this one is a copy that lives for this call alone.
            object.__setattr__(context.module, "axis_name", axis_name)
        return call(*args, **kwargs)

    return interceptor
