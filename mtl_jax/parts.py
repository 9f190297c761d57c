"""Parts of a model that learn at rates of their own, later, or not at all."""

import math
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from mtl_jax.stacked import Stacked
from mtl_jax.typing import Array, PyTree


class Part(NamedTuple):
    """The parameters of some names, and how they learn.

    Names are those of checkpoints without the outermost part of the state, e.g.
    `shared/trunk/Dense_0/kernel` and `specific/heads_digit/bias`.

    Attributes:
        where: a regular expression that is searched for in the names.
        rate: factor of the learning rate; 0: the part is frozen.
        from_step: the part is frozen before this step.
    """

    where: str
    rate: float = 1.0
    from_step: int = 0


class ByPart(NamedTuple):
    """The state of `by_part`."""

    steps: Array  # [] int32, steps done
    before: Any
    inner: Any  # an optimizer's state for each part, with its own leaves alone


def by_part(
    make: Callable[[float, int], optax.GradientTransformation],
    parts: Sequence[Part],
    before: optax.GradientTransformation | None = None,
) -> optax.GradientTransformationExtraArgs:
    """One optimizer a part of the parameters `(shared, specific)`.

    A leaf belongs to the first part that names it, and to the rest, with rate 1,
    where none does. While a part is frozen, its gradient is 0 for `before` (a clipping
    of the global norm sees the others alone), its parameters stay bit for bit, decay
    included, and its optimizer's state too: it starts as a new one does. Heads that are
    stacked may be of different parts; those groups are then updated head by head.

    Weighting methods see the gradients of all shared parameters, frozen ones too; a
    method that is to look at those that learn is `restrict`ed to them.

    Args:
        make: `(rate, from_step) -> optimizer` of a part.
        parts: from the first that counts to the last.
        before: of all gradients, before the optimizers.

    Returns:
        An optimizer of the pair `(shared, specific)`, or of any tree.

    Raises:
        ValueError: a rate below 0 or that is not finite, or no regular expression; in
            `init`, a part that names no parameter, or none that is left.

    Example:
        >>> params = {"trunk": jnp.ones(2), "head": jnp.ones(2)}
        >>> sgd = lambda rate, _: optax.sgd(0.5 * rate)
        >>> optimizer = by_part(sgd, [Part("trunk", rate=0.1, from_step=1)])
        >>> state = optimizer.init(params)
        >>> for _ in range(2):
        ...     updates, state = optimizer.update(params, state, params)
        ...     print(updates["head"], updates["trunk"].round(2))
        [-0.5 -0.5] [0. 0.]
        [-0.5 -0.5] [-0.05 -0.05]

    References:
        Howard and Ruder, Universal Language Model Fine-tuning for Text Classification,
        ACL 2018: discriminative rates and gradual unfreezing, section 3.2 and 3.3.
    """
    before = optax.identity() if before is None else before
    patterns = [_checked(part) for part in parts]
    every = [*parts, Part("")]
    optimizers = {
        str(i): optax.set_to_zero() if p.rate == 0 else make(p.rate, p.from_step)
        for i, p in enumerate(every)
    }

    def label(name: str) -> str:
        found = (i for i, pattern in enumerate(patterns) if pattern.search(name))
        return str(next(found, len(parts)))

    def labels(tree: PyTree) -> PyTree:
        return jax.tree_util.tree_map_with_path(lambda p, _: label(_name(p)), tree)

    inner = optax.partition(optimizers, labels)

    def init(params: PyTree) -> ByPart:
        tree = _apart(params, _plan(params, label))
        used = set(jax.tree.leaves(labels(tree)))
        for i, part in enumerate(parts):
            if str(i) not in used:
                raise ValueError(_unused(part, patterns[i], tree))
        return ByPart(jnp.zeros((), jnp.int32), before.init(tree), inner.init(tree))

    def update(
        grads: PyTree, state: ByPart, params: PyTree = None, **extra: Any
    ) -> tuple[PyTree, ByPart]:
        like = grads if params is None else params
        plan = _plan(like, label)
        active = {
            str(i): jnp.asarray(p.rate != 0) & (state.steps >= p.from_step)
            for i, p in enumerate(every)
        }
        tree, own = _apart(grads, plan), _apart(like, plan)
        of = labels(own)

        def where_active(tree: PyTree) -> PyTree:
            return jax.tree.map(
                lambda x, i: jnp.where(active[i], x, jnp.zeros_like(x)), tree, of
            )

        tree, before_state = before.update(where_active(tree), state.before, own)
        tree, after = inner.update(tree, state.inner, own, **extra)
        kept = {
            i: jax.tree.map(
                lambda new, old, i=i: jnp.where(active[i], new, old),
                one,
                state.inner.inner_states[i],
            )
            for i, one in after.inner_states.items()
        }
        new_state = ByPart(
            state.steps + 1, before_state, after._replace(inner_states=kept)
        )
        return _together(where_active(tree), grads), new_state

    return optax.GradientTransformationExtraArgs(init, update)


def _checked(part: Part) -> re.Pattern[str]:
    if not (math.isfinite(part.rate) and part.rate >= 0):
        raise ValueError(
            f"the part {part.where!r} was given rate={part.rate}; rates are factors of "
            "the learning rate, 0 (frozen) or more"
        )
    try:
        return re.compile(part.where)
    except re.error as error:
        raise ValueError(
            f"the part {part.where!r} is no regular expression: {error}"
        ) from error


def _unused(part: Part, pattern: re.Pattern[str], tree: PyTree) -> str:
    pairs, _ = jax.tree_util.tree_flatten_with_path(tree)
    if any(pattern.search(_name(path)) for path, _ in pairs):
        return (
            f"every parameter with {part.where!r} in its name is of an earlier part; "
            "the first that fits counts. Give the narrower part first"
        )
    layers = dict.fromkeys(_name(path).rpartition("/")[0] for path, _ in pairs)
    return (
        f"no parameter has {part.where!r} in its name. The layers are: "
        f"{', '.join(layers)}"
    )


def _name(path: Sequence[Any]) -> str:
    """The name of a leaf of a tree that is apart: `shared/…` or `specific/…`."""
    words = [jax.tree_util.keystr((key,), simple=True) for key in path]
    if words and isinstance(path[0], jax.tree_util.SequenceKey):
        words[0] = ("shared", "specific")[path[0].idx] if path[0].idx < 2 else words[0]
    return "/".join(word for word in words if not word.startswith(_GROUP))


_GROUP = "group of heads "


def _plan(tree: PyTree, label: Callable[[str], str]) -> list[list[bool]]:
    """For each stack of heads, which groups have heads of several parts."""
    pairs, _ = jax.tree_util.tree_flatten_with_path(tree, is_leaf=_is_stacked)
    return [
        [_mixed(path, names, stack, label) for names, stack in _groups(node)]
        for path, node in pairs
        if _is_stacked(node)
    ]


def _mixed(
    path: Any, names: Sequence[str], stack: PyTree, label: Callable[[str], str]
) -> bool:
    leaves, _ = jax.tree_util.tree_flatten_with_path(stack)
    keys = [jax.tree_util.DictKey(name) for name in names]
    found = {tuple(label(_name((*path, k, *leaf))) for leaf, _ in leaves) for k in keys}
    return len(found) > 1


def _apart(tree: PyTree, plan: Sequence[Sequence[bool]]) -> PyTree:
    """The tree with a dictionary for each `Stacked`, whole where it is of one part."""
    plans = iter(plan)

    def one(node: Any) -> Any:
        if not _is_stacked(node):
            return node
        found = {}
        for i, (mixed, (names, stack)) in enumerate(
            zip(next(plans), _groups(node), strict=True)
        ):
            if mixed:
                found[f"{_GROUP}{i}"] = {
                    name: jax.tree.map(lambda leaf, row=row: leaf[row], stack)
                    for row, name in enumerate(names)
                }
            else:
                found[f"{_GROUP}{i}"] = {names[0]: stack}
        return found

    return jax.tree.map(one, tree, is_leaf=_is_stacked)


def _together(tree: PyTree, like: PyTree) -> PyTree:
    """The inverse of `_apart`."""

    def one(node: Any, found: Any) -> Any:
        if not _is_stacked(node):
            return found
        stacks = []
        for i, (names, _) in enumerate(_groups(node)):
            parts = found[f"{_GROUP}{i}"]
            if len(parts) == len(names) > 1:
                rows = [parts[name] for name in names]
                stacks.append(jax.tree.map(lambda *leaves: jnp.stack(leaves), *rows))
            else:
                stacks.append(parts[names[0]])
        return Stacked(node.groups, stacks)

    return jax.tree.map(one, like, tree, is_leaf=_is_stacked)


def _groups(node: Stacked) -> list[tuple[tuple[str, ...], PyTree]]:
    return list(zip(node.groups, node.stacks, strict=True))


def _is_stacked(node: Any) -> bool:
    return isinstance(node, Stacked)
