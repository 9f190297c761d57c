"""Heads of equal shape, computed as one.

The parameters of n heads that are alike are one tree with `[n, ...]` leaves, and `vmap`
of one head over them is the computation. All heads of a group read one representation,
which is never copied: the first layer of n heads is one matrix product, and so is the
gradient of its kernels.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

from mtl_jax.errors import unknown_name
from mtl_jax.models import calling
from mtl_jax.models.base import Model, StackedHeads, Variables
from mtl_jax.models.head_groups import Group
from mtl_jax.models.running import run
from mtl_jax.stacked import Stacked, stack_like
from mtl_jax.typing import Array, PyTree


def stack(
    groups: Sequence[Group],
    init_trunk: Callable[..., tuple[PyTree, PyTree, PyTree]],
    encode: Callable[..., tuple[PyTree, PyTree]],
) -> Model:
    """A model of a trunk and groups of heads.

    Args:
        groups: the heads.
        init_trunk: `(key, inputs) -> (params, collections, representation)`.
        encode: as in `Model`.
    """
    place = {t: (g, i) for g in groups for i, t in enumerate(g.tasks)}
    task_of = {n: t for g in groups for t, n in zip(g.tasks, g.names, strict=True)}
    together = StackedHeads(
        task_of=task_of.__getitem__,
        apply=lambda *a, **k: _apply(groups, *a, **k),
        pull=lambda *a, **k: _pull(groups, *a, **k),
    )

    def init(key: Array, inputs: PyTree) -> Variables:
        shared, trunk, z = init_trunk(key, inputs)
        specific, heads = _init(groups, key, z)
        return Variables(shared, specific, (trunk, heads))

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
        trunk, heads = collections or ((), ())
        how: Any = {"train": train, "key": key, "axis_name": axis_name}
        z, trunk = encode(shared, trunk, inputs, **how)
        outputs, heads = _apply(groups, specific, heads, z, **how)
        return {task: outputs[task] for task in place}, (trunk, heads)

    def decode(
        specific: PyTree,
        collections: PyTree,
        representations: Mapping[str, PyTree],
        *,
        train: bool = False,
        key: Array | None = None,
        axis_name: str | None = None,
    ) -> tuple[dict[str, Any], PyTree]:
        collections = collections or {}
        outputs: dict[str, Any] = {}
        after = {c: dict(trees) for c, trees in collections.items()}
        for task, z in representations.items():
            if task not in place:
                found = unknown_name("head", task, place)
                raise ValueError(
                    f"task {task!r} has no head in the model: {found} Name heads and "
                    "tasks alike."
                )
            group, row = place[task]
            name, keys = group.names[row], group.keys(key)
            own = {c: trees[name] for c, trees in collections.items() if name in trees}
            outputs[task], changed = _run(
                group,
                specific.get(name, {}),
                own,
                None if keys is None else keys[row],
                z,
                train,
                axis_name,
            )
            for c in own:
                after[c][name] = changed[c]
        return outputs, (stack_like(after, collections) or ())

    return Model(init, apply, encode, decode, together)


def _init(groups: Sequence[Group], key: Array, z: PyTree) -> tuple[Stacked, PyTree]:
    found: dict[str, list[tuple[tuple[str, ...], PyTree]]] = {"params": []}
    for group in groups:

        def one(key: Array, group: Group = group) -> PyTree:
            rngs = {"params": key, "dropout": key}
            return group.module.init(rngs, z, False, method=calling.call)

        for name, tree in group.each(one)(group.keys(key)).items():
            found.setdefault(name, []).append((group.names, tree))
    # No zip: a collection may be that of no group.
    every = {
        name: Stacked([names for names, _ in pairs], [tree for _, tree in pairs])
        for name, pairs in found.items()
    }
    return every.pop("params"), every or ()


def _run(
    group: Group,
    params: PyTree,
    collections: PyTree,
    key: Array | None,
    z: PyTree,
    train: bool,
    axis_name: str | None,
) -> tuple[Any, PyTree]:
    """One head of a group."""
    return run(
        group.module, calling.call, params, collections, z, train, key, axis_name
    )


def _own(group: Group, collections: PyTree) -> PyTree:
    """The collections of a group, stacked."""
    return {
        name: group.of(trees)
        for name, trees in (collections or {}).items()
        if group.names[0] in trees
    }


def _apply(
    groups: Sequence[Group],
    specific: PyTree,
    collections: PyTree,
    z: PyTree,
    *,
    train: bool = False,
    key: Array | None = None,
    axis_name: str | None = None,
) -> tuple[Stacked, PyTree]:
    outputs = []
    after: dict[tuple[str, ...], PyTree] = {}
    for group in groups:

        def one(
            params: PyTree, own: PyTree, key: Array | None, group: Group = group
        ) -> tuple[Any, PyTree]:
            return _run(group, params, own, key, z, train, axis_name)

        out, changed = group.each(one)(
            group.of(specific), _own(group, collections), group.keys(key)
        )
        outputs.append(out)
        after[group.names] = changed
    new = {
        name: trees.map_groups(lambda names, _, name=name: after[names][name])
        for name, trees in (collections or {}).items()
    }
    return Stacked([g.tasks for g in groups], outputs), (new or ())


def _pull(
    groups: Sequence[Group],
    specific: PyTree,
    collections: PyTree,
    z: PyTree,
    cotangents: Stacked,
    *,
    train: bool = False,
    key: Array | None = None,
    axis_name: str | None = None,
) -> tuple[Stacked, Stacked]:
    grads, at_z = {}, []
    for group, cotangent in zip(groups, cotangents.stacks, strict=True):

        def one(
            params: PyTree,
            own: PyTree,
            key: Array | None,
            cotangent: PyTree,
            group: Group = group,
        ) -> tuple[PyTree, PyTree]:
            def outputs(params: PyTree, z: PyTree) -> PyTree:
                return _run(group, params, own, key, z, train, axis_name)[0]

            # Within the `vmap`, where z is one array: a mapped VJP that is handed on
            # would keep a copy of it for each head. XLA merges this forward pass with
            # the first one.
            out, vjp = jax.vjp(outputs, params, z)
            # Who asks may compute in another dtype than the head.
            return vjp(jax.tree.map(lambda c, o: c.astype(o.dtype), cotangent, out))

        grads[group.names], rows_at_z = group.each(one)(
            group.of(specific), _own(group, collections), group.keys(key), cotangent
        )
        at_z.append(rows_at_z)
    return (
        specific.map_groups(lambda names, _: grads[names]),
        Stacked([g.tasks for g in groups], at_z),
    )
