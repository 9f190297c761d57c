"""One model of several that were trained apart: the mean of their parameters."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mtl_jax.typing import PyTree


def average(trees: Sequence[PyTree], weights: Sequence[float] | None = None) -> PyTree:
    """The weighted mean of trees of one structure, leaf by leaf.

    Args:
        trees: parameters, or any state; leaves of equal shape and dtype.
        weights: of the trees, non-negative; they are divided by their sum. Default:
            equal ones.

    Returns:
        A tree of the same structure and dtypes. Floating leaves are averaged in
        float64 on the host; of integers, those of the first tree are taken.

    Raises:
        ValueError: no tree, trees of different structure or shapes, or weights that are
            no weights of these.

    Example:
        >>> average([{"w": jnp.zeros(2)}, {"w": jnp.ones(2)}], [1, 3])["w"].tolist()
        [0.75, 0.75]

    References:
        Wortsman et al., Model Soups, ICML 2022, of models that were trained from one
        start; McMahan et al., Communication-Efficient Learning of Deep Networks from
        Decentralized Data, AISTATS 2017, eq. 1, with weights by numbers of examples.
    """
    if not trees:
        raise ValueError("average was given no trees; give one or more")
    shares = _shares(weights, len(trees))
    first = trees[0]
    for i, other in enumerate(trees[1:], 1):
        if _form(other) != _form(first):
            raise ValueError(
                f"tree {i} is not like the first one: {_difference(first, other)}. "
                "Average models of one architecture alone"
            )

    def mean(*leaves: Any) -> Any:
        like = jnp.asarray(leaves[0])
        if not jnp.issubdtype(like.dtype, jnp.inexact):
            return like
        wide = [np.asarray(leaf, np.float64) for leaf in leaves]
        total = sum(s * leaf for s, leaf in zip(shares, wide, strict=True))
        return jnp.asarray(total, like.dtype)

    return jax.tree.map(mean, *trees)


def _shares(weights: Sequence[float] | None, count: int) -> np.ndarray:
    found = np.ones(count) if weights is None else np.asarray(weights, np.float64)
    sound = found.shape == (count,) and np.all(np.isfinite(found)) and found.sum() > 0
    if not sound or np.any(found < 0):
        raise ValueError(
            f"average of {count} trees was given weights={weights}; give {count} "
            "non-negative numbers, not all zero"
        )
    return found / found.sum()


def _form(tree: PyTree) -> Mapping[str, tuple[Any, ...]]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): (
            np.shape(leaf),
            str(jnp.result_type(leaf)),
        )
        for path, leaf in leaves
    }


def _difference(one: PyTree, other: PyTree) -> str:
    a, b = _form(one), _form(other)
    for name in [*a, *b]:
        if a.get(name) != b.get(name):
            found = [str(f.get(name, "not there")) for f in (a, b)]
            return f"{name!r} is {found[0]} and {found[1]}"
    return "their leaves are in another order"
