"""A method of its own for each group of parameters."""

from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mtl_jax import tree
from mtl_jax.typing import Array, PyTree
from mtl_jax.weighting import base
from mtl_jax.weighting.algebra import paths, wrapping


class PerGroupState(NamedTuple):
    """The states of the method, one a group."""

    groups: Any  # leaves [K, ...], in the order in which the groups first occur


def per_group(
    method: base.LossWeighting | base.GramianWeighting,
    labels: Callable[[str], Hashable] | PyTree = paths.by_layer,
) -> base.GradientAggregator:
    """Weigh the tasks in each group of shared parameters by itself.

    With `J_k` the columns of the Jacobian that belong to group k, the weights of the
    group are those of the method on `G_k = J_k J_kᵀ`, and its part of the direction is
    `J_kᵀ w_k`. Each group has a state and a random key of its own; the K small problems
    are solved together.

    Heads get the mean over the groups of the weights that the method gives to heads,
    weight 1 where it gives that.
    State: that of the method for each group.

    Args:
        method: a `LossWeighting` or a `GramianWeighting`.
        labels: the group of each parameter array: a function of its path, such as
            "trunk/Dense_0/kernel" ("" for a bare array), or a pytree like the shared
            parameters. `by_layer` cuts the last part of the path off, `by_leaf` makes
            each array a group.

    Returns:
        A `GradientAggregator` whose `init` needs the shared parameters. It has no
        meaning at the representation.

    Raises:
        TypeError: another kind of method.
        ValueError: a method of several samples or of a part of the parameters; at
            `init`, no parameters, or labels of another structure.

    Example:
        >>> from mtl_jax.weighting import by_leaf, mgda
        >>> method = per_group(mgda(), by_leaf)
        >>> task_grads = {"a": jnp.array([1.0, -1.0]), "b": jnp.array([1.0, 3.0])}
        >>> state = method.init(2, {"a": jnp.zeros(()), "b": jnp.zeros(())})
        >>> direction, _, _ = method.update(task_grads, state)
        >>> {name: round(float(x), 3) for name, x in direction.items()}
        {'a': 0.0, 'b': 1.0}
    """
    wrapping.check_kind(
        "per_group",
        method,
        base.LossWeighting,
        base.GramianWeighting,
        why="It is given the gradients, and can tell the groups apart itself",
    )
    wrapping.one_sample(
        "per_group", method, "an aggregator is given the gradients of one"
    )
    if isinstance(method, base.GramianWeighting) and method.where is not None:
        raise ValueError(
            "per_group was given a method that looks at a part of the shared "
            "parameters; each group is a part already: use restrict(method, 'all')"
        )

    def init(num_tasks: int, params: PyTree = None) -> PerGroupState:
        if params is None:
            raise ValueError(
                "per_group makes a state for each group of parameters, and init was "
                "not given the parameters: init(num_tasks, shared)"
            )
        count = len(set(group_numbers(params)))
        states = [method.init(num_tasks) for _ in range(count)]
        return PerGroupState(jax.tree.map(lambda *leaves: jnp.stack(leaves), *states))

    def group_numbers(params: PyTree) -> list[int]:
        found = _labels_of(labels, params)
        order = list(dict.fromkeys(found))
        return [order.index(label) for label in found]

    def update(
        task_grads: PyTree,
        state: PerGroupState,
        *,
        key: Array | None = None,
        mask: Array | None = None,
        primal: PyTree | None = None,
        **extra: Any,
    ) -> tuple[PyTree, Array, PerGroupState]:
        del primal
        leaves, treedef = jax.tree.flatten(task_grads)
        numbers = group_numbers(task_grads)
        count, t = len(set(numbers)), leaves[0].shape[0]
        grams = jnp.stack(
            [
                tree.gramian(
                    [g for g, n in zip(leaves, numbers, strict=True) if n == k]
                )
                for k in range(count)
            ]
        )
        keys = None if key is None else jax.random.split(key, count)
        keep = base.keep_mask(mask, t)

        def one(gramian: Array, state: Any, key: Array | None) -> Any:
            weights, state = wrapping.weigh(
                method, gramian, state, key=key, mask=mask, **extra
            )
            heads = base.head_weights(method.weigh_heads, weights, state)
            return weights, wrapping.masked(heads, keep), state

        weights, heads, states = jax.vmap(one)(grams, state.groups, keys)
        direction = [
            tree.combine(weights[n], leaf)
            for leaf, n in zip(leaves, numbers, strict=True)
        ]
        heads = jnp.mean(heads, axis=0)
        return jax.tree.unflatten(treedef, direction), heads, PerGroupState(states)

    inside = method.observe

    def observe(
        before: Array, after: Array, state: PerGroupState, **extra: Any
    ) -> PerGroupState:
        assert inside is not None
        each = jax.vmap(lambda one: inside(before, after, one, **extra))
        return PerGroupState(each(state.groups))

    return base.GradientAggregator(
        init,
        update,
        observe=None if inside is None else observe,
        needs_epoch=method.needs_epoch,
        at_representation=False,
    )


def _labels_of(
    labels: Callable[[str], Hashable] | PyTree, params: PyTree
) -> list[Hashable]:
    """The label of each leaf, in the order of the leaves."""
    if callable(labels):
        return [labels(name) for name in paths.names(params)]
    found: list[Hashable] = []
    try:  # a label may be a tuple, so that the leaves of `labels` are not the labels
        jax.tree.map(lambda _, label: found.append(label), params, labels)
    except ValueError as error:
        raise ValueError(
            f"the labels of per_group have the structure {jax.tree.structure(labels)}, "
            f"and the parameters {jax.tree.structure(params)}; give one label an "
            f"array, or a function of its path, e.g. by_layer"
        ) from error
    return found
