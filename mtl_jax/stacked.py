"""Trees by name, of which those of equal shape are one: `[n, ...]` leaves.

Heads, their gradients and their optimizer's state, labels: where 138 tasks have trees
of equal shape, the program sees one tree with a leading axis, and whoever asks by name
sees 138.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mtl_jax.typing import Array, PyTree


@jax.tree_util.register_pytree_with_keys_class
class Stacked(Mapping[str, PyTree]):
    """A read-only mapping from names to trees, whose groups are stacked.

    A pytree with the stacked leaves. To the outside it is a mapping; what it gives are
    slices.

    Args:
        groups: the names of each group, in the order of its rows; all different.
        stacks: a tree a group, its leaves `[n, ...]`.
        axis: where the leaves are stacked; 1 in a batch, whose leading axis is B.

    Example:
        >>> heads = Stacked([("a", "b"), ("c",)], [jnp.ones((2, 3)), jnp.zeros((1, 5))])
        >>> {name: head.shape for name, head in heads.items()}
        {'a': (3,), 'b': (3,), 'c': (5,)}
        >>> len(jax.tree.leaves(heads))
        2
    """

    def __init__(
        self,
        groups: Sequence[Sequence[str]],
        stacks: Sequence[PyTree],
        axis: int = 0,
    ):
        self.groups = tuple(tuple(names) for names in groups)
        self.stacks = tuple(stacks)
        self.axis = axis

    def __getitem__(self, name: str) -> PyTree:
        found = [i for i, names in enumerate(self.groups) if name in names]
        if not found:
            raise KeyError(name)
        row = self.groups[found[0]].index(name)
        stack = self.stacks[found[0]]
        return jax.tree.map(lambda leaf: take_row(leaf, row, self.axis), stack)

    def __iter__(self) -> Iterator[str]:
        return (name for names in self.groups for name in names)

    def __len__(self) -> int:
        return sum(map(len, self.groups))

    def __eq__(self, other: object) -> bool:
        return self is other  # arrays have no one truth

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return f"Stacked({self.groups}, {self.stacks}, axis={self.axis})"

    def map_groups(
        self, function: Callable[[tuple[str, ...], PyTree], PyTree]
    ) -> "Stacked":
        """`function(names, stack)` of every group, with the same names."""
        stacks = map(function, self.groups, self.stacks)
        return Stacked(self.groups, tuple(stacks), self.axis)

    def tree_flatten_with_keys(self) -> tuple[Any, Any]:
        """For JAX."""
        keys = [jax.tree_util.DictKey(_label(names)) for names in self.groups]
        return tuple(zip(keys, self.stacks, strict=True)), (self.groups, self.axis)

    @classmethod
    def tree_unflatten(cls, aux: Any, children: Any) -> "Stacked":
        """For JAX."""
        self = object.__new__(cls)
        (self.groups, self.axis), self.stacks = aux, tuple(children)
        return self


def take_row(leaf: Any, row: int, axis: int = 0) -> Any:
    """One row of a stacked leaf: an array, or the shape of one."""
    if isinstance(leaf, jax.ShapeDtypeStruct):
        shape = (*leaf.shape[:axis], *leaf.shape[axis + 1 :])
        return jax.ShapeDtypeStruct(shape, leaf.dtype)
    return leaf[(slice(None),) * axis + (row,)]


def rows(trees: Mapping[str, PyTree], names: Sequence[str]) -> PyTree:
    """The trees of these names, with leaves `[n, ...]`.

    Args:
        trees: by name, stacked or not.
        names: of trees of equal shape.

    Example:
        >>> rows({"a": jnp.zeros(2), "b": jnp.ones(2)}, ["b", "a"]).tolist()
        [[1.0, 1.0], [0.0, 0.0]]
    """
    if not isinstance(trees, Stacked):
        found = [trees[name] for name in names]
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *found)
    parts: list[PyTree] = []
    order: list[int] = []
    for group, stack in zip(trees.groups, trees.stacks, strict=True):
        place = {name: row for row, name in enumerate(group)}
        here = [i for i, name in enumerate(names) if name in place]
        if here:
            index = [place[names[i]] for i in here]
            parts.append(pick(_leading(stack, trees.axis), index, len(group)))
            order += here
    return in_order(parts, order)


def pick(tree: PyTree, index: Sequence[int], count: int) -> PyTree:
    """These of the `count` rows of `[count, ...]` leaves; nothing where it is all."""
    if list(index) == list(range(count)):
        return tree
    start, end = index[0], index[0] + len(index)
    if list(index) == list(range(start, end)):
        return jax.tree.map(lambda leaf: leaf[start:end], tree)
    return jax.tree.map(lambda leaf: leaf[np.asarray(index)], tree)


def in_order(parts: Sequence[PyTree], order: Sequence[int]) -> PyTree:
    """Parts with `[n_i, ...]` leaves as one; row r of them goes to place `order[r]`.

    Example:
        >>> in_order([jnp.array([5, 6]), jnp.array([7])], [0, 2, 1]).tolist()
        [5, 7, 6]
    """

    def join(*leaves: Array) -> Array:
        return leaves[0] if len(leaves) == 1 else jnp.concatenate(leaves)

    return pick(jax.tree.map(join, *parts), np.argsort(order).tolist(), len(order))


def scale_rows(weights: Array, tree: PyTree) -> PyTree:
    """Leaves `[n, ...]` with row i times `weights[i]`, each in its own dtype."""

    def one_leaf(leaf: Array) -> Array:
        wide = jnp.promote_types(leaf.dtype, jnp.float32)
        factors = weights.astype(wide).reshape(-1, *(1,) * (leaf.ndim - 1))
        return (factors * leaf.astype(wide)).astype(leaf.dtype)

    return jax.tree.map(one_leaf, tree)


def named(tree: PyTree, row: Callable[[Any, int, int], Any] = take_row) -> PyTree:
    """The tree with a plain dictionary, by name, for every `Stacked` in it.

    Args:
        tree: any pytree, e.g. a training state or an optimizer's.
        row: `(leaf, i, axis) -> leaf`, which takes a row of a stacked leaf.

    Example:
        >>> heads = Stacked([("a", "b")], [np.array([[1.0], [2.0]])])
        >>> named((heads, 3))
        ({'a': array([1.]), 'b': array([2.])}, 3)
    """

    def apart(node: Any) -> Any:
        if not isinstance(node, Stacked):
            return node
        return {
            name: jax.tree.map(lambda leaf, i=i: row(leaf, i, node.axis), stack)
            for names, stack in zip(node.groups, node.stacks, strict=True)
            for i, name in enumerate(names)
        }

    return jax.tree.map(apart, tree, is_leaf=lambda node: isinstance(node, Stacked))


def stack_like(
    tree: PyTree, like: PyTree, stack: Callable[[list[Any]], Any] | None = None
) -> PyTree:
    """The inverse of `named`.

    Args:
        tree: with dictionaries by name.
        like: the same tree with the `Stacked` that are to take their places.
        stack: of the leaves of one name each; default: `jnp.stack`.

    Example:
        >>> heads = Stacked([("a", "b")], [jnp.array([[1.0], [2.0]])])
        >>> stack_like(named(heads), heads).groups
        (('a', 'b'),)
    """
    together = jnp.stack if stack is None else stack

    def one(node: Any, found: Any) -> Any:
        if not isinstance(node, Stacked):
            return found
        return node.map_groups(
            lambda names, _: jax.tree.map(
                lambda *leaves: together(list(leaves)), *(found[n] for n in names)
            )
        )

    return jax.tree.map(one, like, tree, is_leaf=lambda node: isinstance(node, Stacked))


def columns(arrays: Mapping[str, np.ndarray]) -> Stacked:
    """NumPy arrays `[B, ...]` by name; those of equal shape and dtype are one array.

    Args:
        arrays: labels, or masks, of one batch or a whole split.

    Returns:
        A `Stacked` of `[B, n, ...]` arrays, to be given to a compiled step in place of
        the arrays: the step has one argument for them, whatever their number.

    Example:
        >>> packed = columns({"a": np.zeros(4), "b": np.ones(4), "c": np.arange(4)})
        >>> [leaf.shape for leaf in jax.tree.leaves(packed)], packed["b"].tolist()
        ([(4, 2), (4, 1)], [1.0, 1.0, 1.0, 1.0])
    """
    groups: dict[Any, list[str]] = {}
    for name, array in arrays.items():
        groups.setdefault((array.shape, array.dtype), []).append(name)
    stacks = [
        arrays[names[0]][:, None]
        if len(names) == 1
        else np.stack([arrays[n] for n in names], axis=1)
        for names in groups.values()
    ]
    return Stacked(list(groups.values()), stacks, axis=1)


def _leading(stack: PyTree, axis: int) -> PyTree:
    if axis == 0:
        return stack
    return jax.tree.map(lambda leaf: jnp.moveaxis(leaf, axis, 0), stack)


def _label(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]}...{names[-1]}"
