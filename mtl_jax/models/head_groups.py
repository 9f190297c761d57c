"""Which heads of a module are computed together, and what they share."""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax
import flax.linen as nn
import jax
import numpy as np

from mtl_jax.models import alike
from mtl_jax.stacked import rows
from mtl_jax.typing import Array, PyTree


class Group(NamedTuple):
    """Heads that are alike."""

    tasks: tuple[str, ...]
    names: tuple[str, ...]  # of their parameters
    module: nn.Module  # one of them, unbound

    @property
    def each(self) -> Callable[..., Any]:
        """`vmap` over the heads, or nothing of the kind for one alone."""
        return jax.vmap if len(self.names) > 1 else _alone

    def keys(self, key: Array | None) -> Array | None:
        """A key a head `[n]`, that depends on its name and not on its place."""
        if key is None:
            return None
        digests = [hashlib.sha1(name.encode()).digest()[:4] for name in self.names]
        words = np.array([int.from_bytes(d, "big") for d in digests], np.uint32)
        return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, words)

    def of(self, trees: Mapping[str, PyTree]) -> PyTree:
        """The stacked trees of this group's heads; `{}` where they have none."""
        return rows(trees, self.names) if self.names[0] in trees else {}


def find(module: nn.Module) -> list[Group] | None:
    """The heads of a module that says where they are, and does not share them.

    Args:
        module: with an attribute `head_field`, the name of the field that maps each
            task to its head; `encode` uses no head, and `decode` calls each on the
            representation of its task.

    Returns:
        The groups, or `None` for a module without the attribute, with a `decode` or
        `__call__` of its own behind it, with a submodule in several places, or that
        names its parameters otherwise than Linen does.
    """
    kind = type(module)
    owner = next((c for c in kind.__mro__ if "head_field" in vars(c)), None)
    if owner is None:
        return None
    if any(getattr(kind, f) is not getattr(owner, f) for f in ("decode", "__call__")):
        return None
    field = module.head_field
    heads = getattr(module, field)
    ids = [id(part) for part in alike.parts(module)]
    own_names = getattr(
        kind, "preserve_adopted_names", flax.config.flax_preserve_adopted_names
    )
    if not heads or own_names or len(set(ids)) < len(ids):
        return None
    return [
        Group(
            tuple(tasks),
            tuple(f"{field}_{task}" for task in tasks),
            heads[tasks[0]].clone(parent=None, name=None),
        )
        for tasks in alike.groups(heads)
    ]


def _alone(function: Callable[..., Any]) -> Callable[..., Any]:
    """As `vmap` over one row, without it: the program is that of one head."""

    def mapped(*trees: PyTree) -> PyTree:
        first = jax.tree.map(lambda leaf: leaf[0], trees)
        return jax.tree.map(lambda leaf: leaf[None], function(*first))

    return mapped
