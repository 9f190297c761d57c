"""Flax Linen modules as models."""

from collections.abc import Collection
from typing import Any

import flax.linen as nn

from mtl_jax.models import head_groups, stacked_heads
from mtl_jax.models.base import Model, Variables
from mtl_jax.models.running import run
from mtl_jax.typing import Array, PyTree


def from_linen(module: nn.Module, *, stack_heads: bool = True) -> Model:
    """The pure functions of a Linen module.

    The module says which of its top-level parameters are shared with a method or
    attribute `shared_names`, a tuple of names; the others are task-specific. Its
    `__call__(inputs, train)` returns `{task: outputs}`; with `encode(inputs, train)`
    and `decode({task: representation}, train)` it has a representation; one that cannot
    have any may say why in an attribute `no_representation`, e.g. "the towers read each
    other", which the error of `at="representation"` has. Modules that use dropout read
    the stream "dropout". BatchNorm layers are synchronised over the
    data-parallel axis, whether or not they name it.

    Heads that are alike are stacked: one leaf `[n, ...]` for all their kernels, in the
    parameters and in the optimizer's state, and one matrix product. The task-specific
    parameters are then a mapping that shows each head by name. `HardSharing` asks for
    it with an attribute `head_field`, the name of the field that maps each task to its
    head; so may another module whose `encode` uses no head and whose `decode` calls
    each on the representation of its task, and does nothing else.

    Args:
        module: the Linen module, e.g. a `HardSharing`.
        stack_heads: `False` keeps every head for itself: for an optimizer that treats
            single heads differently, or that looks at whole leaves (the trust ratio of
            LAMB is then one a head, not one for all heads that are alike).

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
        >>> variables.specific["heads_a"]["kernel"].shape
        (8, 3)
    """
    names = getattr(module, "shared_names", None)
    if names is None:
        raise ValueError(
            f"{type(module).__name__} does not say which parameters are shared: give "
            "it an attribute shared_names, a tuple of names of top-level submodules "
            "(the others are task-specific)"
        )
    shared_names = tuple(names() if callable(names) else names)

    def parts(variables: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        params = variables.get("params", {})
        missing = [name for name in shared_names if name not in params]
        if missing:
            raise ValueError(
                f"{type(module).__name__}.shared_names has {missing}, but its "
                f"top-level parameters are {sorted(params)}"
            )
        return _split(dict(variables), shared_names)

    def init(key: Array, inputs: Array) -> Variables:
        rngs = {"params": key, "dropout": key}
        trunk, heads = parts(module.init(rngs, inputs, False))
        return Variables(
            trunk.pop("params"), heads.pop("params", {}), (trunk or (), heads or ())
        )

    def init_trunk(key: Array, inputs: Array) -> tuple[PyTree, PyTree, PyTree]:
        rngs = {"params": key, "dropout": key}
        z, variables = module.init_with_output(rngs, inputs, False, method="encode")
        trunk, others = parts(variables)
        if others:
            names = sorted({name for tree in others.values() for name in tree})
            raise ValueError(
                f"{type(module).__name__}.encode has the variables {names}, which are "
                "not in shared_names. Add them there, or take its head_field away"
            )
        return trunk.pop("params"), trunk or (), z

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
            module,
            None,
            {**shared, **specific},
            merged,
            inputs,
            train,
            key,
            axis_name,
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
        return run(module, "encode", shared, collections, inputs, train, key, axis_name)

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
            module,
            "decode",
            specific,
            collections,
            representations,
            train,
            key,
            axis_name,
        )

    groups = head_groups.find(module) if stack_heads else None
    if groups is not None:
        return stacked_heads.stack(groups, init_trunk, encode)
    if hasattr(module, "encode") and hasattr(module, "decode"):
        return Model(init, apply, encode, decode)
    reason = getattr(module, "no_representation", None)
    return Model(init, apply, no_representation=reason)


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
