"""What a model costs, shared and task by task: parameters, bytes, FLOPs."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import export as jax_export
from jax.extend import core

from mtl_jax import models, stacked, tasks, train
from mtl_jax.typing import PyTree

SHARED, TRAINING, ALL = "shared", "training only", "all"
"""The rows beside those of the tasks."""


class Cost(NamedTuple):
    """A row: a task, or what all of them share."""

    name: str
    parameters: int
    bytes: int  # of the parameters as they are trained
    flops: float  # of one example, forward


def costs(
    model: models.Model, task_list: Sequence[tasks.Task], example: PyTree
) -> list[Cost]:
    """Rows of what is shared, of each task, and of all; nothing is computed.

    Parameters are exact: a task has those of the task-specific ones that its outputs
    read (the first one that does, where a chain reads those of others); "training only"
    are those that no output reads, where there are any. FLOPs are those of the cost
    analysis of XLA, before it optimises, for one example; the body of a loop of known
    length is counted that many times, of another once. With a representation, "shared"
    is what computes it and a task's row its head; without one, the row is what predict
    saves by leaving out that task, and "shared" the rest.

    Args:
        model: the model.
        task_list: its tasks.
        example: inputs `[1, ...]`, or their shapes.

    Example:
        >>> import flax.linen as nn
        >>> heads = {"a": nn.Dense(3), "b": nn.Dense(1)}
        >>> net = models.HardSharing(models.MLP((8,)), heads)
        >>> task_list = [tasks.classification("a", 3), tasks.binary("b")]
        >>> example = jax.ShapeDtypeStruct((1, 4), "float32")
        >>> for row in costs(models.from_linen(net), task_list, example):
        ...     print(row.name, row.parameters, row.bytes, row.flops)
        shared 40 160 80.0
        a 27 108 51.0
        b 9 36 17.0
        all 76 304 148.0
    """
    inputs = jax.tree.map(
        lambda a: jax.ShapeDtypeStruct((1, *a.shape[1:]), a.dtype), example
    )
    variables: Any = jax.eval_shape(model.init, jax.random.key(0), inputs)
    names = [task.name for task in task_list]
    of_shared, work = _flops_by_part(model, variables, inputs, names)
    owner = _owners(model, variables, inputs, names)
    specific = stacked.named(variables.specific)
    rows = [Cost(SHARED, *_size(variables.shared), of_shared)]
    leaves = jax.tree.leaves(specific)
    for name in (*names, TRAINING):
        own = [leaf for leaf, who in zip(leaves, owner, strict=True) if who == name]
        if name != TRAINING or own:
            rows.append(Cost(name, *_size(own), work.get(name, 0.0)))
    everything = _size((variables.shared, specific))
    return [*rows, Cost(ALL, *everything, of_shared + sum(work.values()))]


def table(rows: Sequence[Cost]) -> str:
    """The rows for people.

    Example:
        >>> print(table([Cost("shared", 40, 160, 80.0), Cost("all", 76, 304, 148.0)]))
                parameters  bytes  FLOPs an example
        shared          40    160                80
        all             76    304               148
    """
    cells = [["", "parameters", "bytes", "FLOPs an example"]]
    for row in rows:
        numbers = (row.parameters, row.bytes, round(row.flops))
        cells.append([row.name, *(f"{n:,}" for n in numbers)])
    widths = [max(len(line[i]) for line in cells) for i in range(4)]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])])
        for line in cells
    )


def flops(function: Callable[..., Any], *specs: PyTree) -> float:
    """The FLOPs of a function by XLA's cost analysis, loops of known length in full.

    Example:
        >>> shapes = [jax.ShapeDtypeStruct(s, "float32") for s in ((1, 4), (4, 3))]
        >>> flops(lambda x, w: x @ w, *shapes)
        24.0
    """
    closed = jax.make_jaxpr(function)(*specs)
    once = jax.jit(function).lower(*specs).cost_analysis() or {}
    return float(once.get("flops", 0.0)) + _more(closed.jaxpr)


def _more(jaxpr: Any) -> float:
    """What the other rounds of loops add; XLA counts the first one."""
    total = 0.0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "scan":
            body = equation.params["jaxpr"]
            specs = [jax.ShapeDtypeStruct(v.shape, v.dtype) for v in body.in_avals]
            round_flops = flops(core.jaxpr_as_fun(body), *specs)
            # XLA's own count has the body once, without what its loops repeat.
            total += equation.params["length"] * round_flops - (
                round_flops - _more(body.jaxpr)
            )
            continue
        for value in equation.params.values():
            for inner in value if isinstance(value, tuple | list) else (value,):
                inner = getattr(inner, "jaxpr", inner)
                if hasattr(inner, "eqns"):
                    total += _more(inner)
    return total


def _size(tree: PyTree) -> tuple[int, int]:
    leaves = jax.tree.leaves(tree)
    count = sum(int(np.prod(leaf.shape)) for leaf in leaves)
    return count, sum(int(np.prod(a.shape)) * a.dtype.itemsize for a in leaves)


def _flops_by_part(
    model: models.Model, variables: Any, inputs: PyTree, names: Sequence[str]
) -> tuple[float, dict[str, float]]:
    """Of what is shared, and of each task."""
    if model.encode is not None and model.decode is not None:
        encode, decode = model.encode, model.decode
        trunk, heads = variables.collections or ((), ())
        given = variables.shared, trunk, inputs
        z = jax.eval_shape(lambda *a: encode(*a)[0], *given)
        own = stacked.named((variables.specific, heads))
        like = _alike(model, variables, names)
        found = {
            name: flops(lambda s, c, z, n=name: decode(s, c, {n: z})[0], *own, z)
            for name in dict.fromkeys(like.values())
        }
        of_shared = flops(lambda *a: encode(*a)[0], *given)
        return of_shared, {n: found[like[n]] for n in names}

    def predict(kept: Sequence[str]) -> float:
        def outputs(variables: Any, inputs: PyTree) -> Any:
            return train.outputs(model, variables, inputs, kept)

        return flops(outputs, tuple(variables), inputs) if kept else 0.0

    whole = predict(names)
    saved = {
        n: whole - predict([other for other in names if other != n]) for n in names
    }
    return whole - sum(saved.values()), saved


def _alike(model: models.Model, variables: Any, names: Sequence[str]) -> dict[str, str]:
    """For each task, one whose head is like its own."""
    if model.stacked is None:
        return dict(zip(names, names, strict=True))
    task_of = model.stacked.task_of
    groups = variables.specific.groups
    found = {task_of(name): task_of(group[0]) for group in groups for name in group}
    return {name: found.get(name, name) for name in names}


def _owners(
    model: models.Model, variables: Any, inputs: PyTree, names: Sequence[str]
) -> list[str]:
    """For each task-specific leaf, the task whose outputs read it."""
    specific = stacked.named(variables.specific)
    if model.stacked is not None:
        task_of = model.stacked.task_of
        return [
            task_of(n) for n in sorted(specific) for _ in jax.tree.leaves(specific[n])
        ]
    found = [TRAINING] * len(jax.tree.leaves(specific))
    for name in reversed(names):

        def outputs(
            specific: PyTree,
            shared: PyTree,
            collections: PyTree,
            x: PyTree,
            n: str = name,
        ) -> Any:
            return train.outputs(model, (shared, specific, collections), x, [n])

        given = specific, variables.shared, variables.collections, inputs
        made = jax_export.export(jax.jit(outputs))(*given)
        for i in made.module_kept_var_idx:
            if i < len(found):
                found[i] = name
    return found
