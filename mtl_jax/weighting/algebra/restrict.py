"""The Gramian over a part of the shared parameters."""

import re
from collections.abc import Callable
from typing import Any

import jax

from mtl_jax.typing import PyTree
from mtl_jax.weighting import base
from mtl_jax.weighting.algebra import paths, wrapping


def restrict(
    method: base.GramianWeighting, where: str | Callable[[Any], Any]
) -> base.GramianWeighting:
    """Let a method see the Gramian of a part of the shared parameters.

    `G = J_p J_pᵀ` with the columns p of J that `where` names. The weights still apply
    to all shared parameters, `d = Jᵀ w`, by one more backward pass; the gradients of
    the rest are never made task by task. State and heads: the method's own.

    Args:
        method: a `GramianWeighting`; its own choice of a part is replaced.
        where: "all"; "last", the last layer: the parameters whose path without its
            last part comes last in natural order (Dense_10 after Dense_9; it is the
            order of the names, not of the calls); a regular expression that is
            searched for in the paths, such as "block_3" or "kernel$"; or a function
            `(task_grads) -> task_grads` that selects. A bare array of parameters is
            its own last layer.

    Returns:
        The method, with another `where`. It has no meaning at the representation.

    Raises:
        TypeError: another kind of method.
        ValueError: not a regular expression; when called, one that no path matches.

    Example:
        >>> import jax.numpy as jnp
        >>> from mtl_jax.weighting import mgda
        >>> method = restrict(mgda(), "last")
        >>> task_grads = {"Dense_9": jnp.zeros((2, 3)), "Dense_10": jnp.ones((2, 3))}
        >>> list(restrict(mgda(), "Dense_9").where(task_grads))
        ['Dense_9']
    """
    wrapping.check_kind("restrict", method, base.GramianWeighting)
    return method._replace(where=selector(where))


def selector(
    where: str | Callable[[Any], Any],
) -> Callable[[PyTree], PyTree] | None:
    """The `where` of a `GramianWeighting` from what a user says; see `restrict`.

    Returns:
        The function that selects, or `None` for all parameters.

    Raises:
        ValueError: not a regular expression.

    Example:
        >>> import jax.numpy as jnp
        >>> grads = {f"Dense_{i}": {"bias": jnp.ones(2)} for i in (8, 9, 10)}
        >>> list(selector("last")(grads)), list(selector("_[89]/")(grads))
        (['Dense_10/bias'], ['Dense_8/bias', 'Dense_9/bias'])
    """
    if callable(where):
        return where
    if where == "all":
        return None
    if where == "last":
        return _last_layer
    try:
        pattern = re.compile(where)
    except (re.error, TypeError) as error:
        raise ValueError(
            f"the part {where!r} of the parameters is neither 'all' nor 'last' nor a "
            f"function, and as a regular expression it is wrong: {error}"
        ) from error

    def matching(task_grads: PyTree) -> dict[str, Any]:
        leaves = _named(task_grads)
        found = {name: leaf for name, leaf in leaves.items() if pattern.search(name)}
        if not found:
            listed = ", ".join(map(repr, leaves))
            raise ValueError(
                f"the part {where!r} of the parameters matches none of them. Their "
                f"paths are {listed}; give a regular expression that one of them has, "
                "'last' or 'all'"
            )
        return found

    return matching


def _last_layer(task_grads: PyTree) -> dict[str, Any]:
    leaves = _named(task_grads)
    last = max(map(paths.by_layer, leaves), key=paths.natural)
    return {n: leaf for n, leaf in leaves.items() if paths.by_layer(n) == last}


def _named(task_grads: PyTree) -> dict[str, Any]:
    leaves = jax.tree.leaves(task_grads)
    return dict(zip(paths.names(task_grads), leaves, strict=True))
