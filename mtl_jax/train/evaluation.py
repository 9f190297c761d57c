"""Evaluation and prediction over whole splits, exact over uneven last batches."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from mtl_jax import data, metrics, objective, pretexts, stacked, tasks, together
from mtl_jax import parallel as data_parallel
from mtl_jax.models.base import Model
from mtl_jax.stacked import Stacked
from mtl_jax.train.state import TrainState
from mtl_jax.typing import Array, Batch, PyTree

Evaluate = Callable[[TrainState, Any, int], dict[str, float]]


def make_evaluation(
    model: Model,
    task_list: Sequence[tasks.Task],
    *,
    parallel: str = "auto",
    devices: Sequence[Any] | None = None,
) -> Evaluate:
    """Build the evaluation of a model on a split.

    Args:
        model: the model.
        task_list: the tasks, with their losses and metrics.
        parallel: "auto", "jit" or "pmap".
        devices: default: all local ones.

    Returns:
        `(state, source, batch_size) -> {"task/loss": …, "task/metric": …}`. The loss is
        the mean over the labelled examples, without the weight of the task. Metrics of
        a task with `units` are of the values before they were standardised. What
        self-supervised tasks draw is the same in every evaluation.

    Raises:
        ValueError: when called: outputs or labels that do not fit a loss.
    """
    found = counted(model, task_list, data_parallel.resolve(parallel, devices))

    def evaluate(state: TrainState, source: Any, batch_size: int) -> dict[str, float]:
        return found(state, source, batch_size)[0]

    return evaluate


def counted(
    model: Model, task_list: Sequence[tasks.Task], devices: Sequence[Any]
) -> Callable[[TrainState, Any, int], tuple[dict[str, float], dict[str, float]]]:
    """`make_evaluation`, which also says how many labels each task had.

    Args:
        model: the model.
        task_list: the tasks.
        devices: that share the batches.

    Returns:
        `(state, source, batch_size) -> (row, {task: count})`; by a count the sum of the
        losses is divided.
    """

    def one_batch(
        state: tuple[PyTree, PyTree, PyTree], batch: Batch
    ) -> dict[str, PyTree]:
        found: Mapping[str, Any]
        if pretexts.have_views(task_list):
            found, _, batch = pretexts.outputs(model, task_list, state, batch)
        else:
            _, batch = pretexts.look(task_list, batch, None)
            found = outputs(model, state, batch["inputs"])
        groups = together.groups(task_list, found, batch)
        out = objective.losses_of(groups)
        return {
            "sums": out.sums,
            "counts": out.counts,
            "metrics": _measured(groups),
        }

    run = data_parallel.wrap_evaluation(one_batch, devices)

    def evaluate(
        state: TrainState, source: Any, batch_size: int
    ) -> tuple[dict[str, float], dict[str, float]]:
        batch_size = round_up(batch_size, len(devices))
        variables = (state.shared, state.specific, state.collections)
        seen: list[dict[str, PyTree]] = []
        for unpacked in data.evaluation_batches(source, batch_size):
            batch = objective.pack(unpacked)
            per_device = jax.device_get(run(variables, batch))
            for n in range(len(devices)):
                one = jax.tree.map(lambda a, n=n: a[n], per_device)
                seen.append({**one, "metrics": stacked.named(one["metrics"])})
        sums = np.asarray(np.sum([s["sums"] for s in seen], axis=0, dtype=np.float64))
        counts = np.asarray(
            np.sum([s["counts"] for s in seen], axis=0, dtype=np.float64)
        )
        row: dict[str, float] = {}
        for t, task in enumerate(task_list):
            mean = sums[t] / counts[t] / task.weight if counts[t] else float("nan")
            row[f"{task.name}/loss"] = float(mean)
            for metric in task.metrics:
                key = f"{task.name}/{metric.name}"
                found = metrics.evaluate(metric, [s["metrics"][key] for s in seen])
                row.update({f"{task.name}/{k}": v for k, v in found.items()})
        names = [task.name for task in task_list]
        return row, dict(zip(names, counts.tolist(), strict=True))

    return evaluate


def outputs(
    model: Model,
    variables: tuple[PyTree, PyTree, PyTree],
    inputs: PyTree,
    task_names: Sequence[str] | None = None,
) -> Mapping[str, Array]:
    """The outputs of a model in evaluation, as a pure function.

    Args:
        model: the model.
        variables: `(shared, specific, collections)`. Where tasks are named, heads that
            are computed together may be given one by one, and others be missing.
        inputs: `[B, ...]`, or several by name.
        task_names: these tasks alone, whose heads are computed one by one. Default:
            all, together where the model has them so.

    Returns:
        `{task: [B, ...]}`.
    """
    shared, specific, collections = variables
    if model.encode is None or (model.stacked or model.decode) is None:
        found = model.apply(shared, specific, collections, inputs)[0]
        return found if task_names is None else {n: found[n] for n in task_names}
    if model.stacked is None and task_names is None:
        return model.apply(shared, specific, collections, inputs)[0]
    trunk, heads = collections or ((), ())
    representation, _ = model.encode(shared, trunk, inputs)
    if task_names is None:
        assert model.stacked is not None
        return model.stacked.apply(specific, heads, representation)[0]
    assert model.decode is not None
    return model.decode(specific, heads, dict.fromkeys(task_names, representation))[0]


def _measured(groups: Sequence[together.Group]) -> Stacked:
    """The states of all metrics by `task/metric`, those of one metric together."""
    names: list[list[str]] = []
    states: list[PyTree] = []
    for group in groups:
        members: dict[Any, tuple[metrics.Metric, list[int]]] = {}
        for i, task in enumerate(group.tasks):
            for metric in task.metrics:
                key = metric.name, id(metric.update)
                members.setdefault(key, (metric, []))[1].append(i)
        for metric, places in members.values():
            part = in_units(group.part(places))
            names.append([f"{task.name}/{metric.name}" for task in part.tasks])
            states.append(part.each(metric.update))
    return Stacked(names, states)


def in_units(group: together.Group) -> together.Group:
    """A group with outputs and labels as they were before they were standardised."""
    units = [task.units or (0.0, 1.0) for task in group.tasks]
    if not any(task.units for task in group.tasks):
        return group

    def values(standardised: Array) -> Array:
        shape = (-1,) + (1,) * (standardised.ndim - 1)
        means, deviations = np.array(units, np.float32).T
        return standardised * deviations.reshape(shape) + means.reshape(shape)

    return group._replace(outputs=values(group.outputs), labels=values(group.labels))


def predict(
    model: Model,
    state: TrainState,
    inputs: data.Inputs,
    *,
    batch_size: int = 256,
    task_names: Sequence[str] | None = None,
) -> dict[str, np.ndarray]:
    """The raw outputs (logits, values) of a model for new inputs.

    Args:
        model: the model.
        state: with trained parameters.
        inputs: `[N, ...]`, or several such arrays by name, as in training.
        batch_size: examples computed at once.
        task_names: the tasks that are asked for; the heads of the others (auxiliary
            ones, say) are not computed. Default: all.

    Returns:
        `{task: [N, ...]}`.

    Raises:
        ValueError: no inputs.
    """
    inputs = jax.tree.map(np.asarray, inputs)
    shapes = [a.shape for a in jax.tree.leaves(inputs)]
    if not all(shape and shape[0] for shape in shapes):
        raise ValueError(f"predict needs inputs [N, ...]; found shape {shapes[0]}")
    variables = jax.device_put(
        (state.shared, state.specific, state.collections), jax.local_devices()[0]
    )

    @jax.jit
    def apply(
        variables: tuple[PyTree, PyTree, PyTree], batch: Array
    ) -> Mapping[str, Array]:
        return outputs(model, variables, batch, task_names)

    parts = []
    total = shapes[0][0]
    for start in range(0, total, batch_size):
        rows = np.arange(start, min(start + batch_size, total))
        missing = batch_size - len(rows) if total > batch_size else 0
        filled = np.concatenate([rows, np.repeat(rows[:1], missing)])
        batch = jax.tree.map(lambda a, r=filled: a[r], inputs)
        out = stacked.named(jax.device_get(apply(variables, batch)))
        parts.append({k: v[: len(rows)] for k, v in out.items()})
    return {k: np.concatenate([part[k] for part in parts]) for k in parts[0]}


def decide(task: tasks.Task, outputs: Any, xp: Any = np) -> dict[str, Any]:
    """What raw outputs mean for a task.

    Args:
        task: the task.
        outputs: `[N, ...]`, of its head.
        xp: `numpy`, or `jax.numpy` within a program: with integers and floats of 32
            bits then.

    Returns:
        `prediction`: classes, 0 or 1, levels, rates, unit vectors, projections, or
        values; and
        `probability` where the loss is a cross-entropy of classes.

    Example:
        >>> found = decide(tasks.binary("spam"), np.array([[0.0], [2.0]]))
        >>> found["prediction"].tolist(), found["probability"].round(2)
        ([0, 1], array([0.5 , 0.88], dtype=float32))
    """
    integer, wide = (np.int64, np.float64) if xp is np else (np.int32, np.float32)
    outputs = xp.asarray(outputs, np.float32)
    if task.pretext is not None and task.pretext.width is not None:
        return {"prediction": outputs}  # the loss is of other numbers
    if task.loss.name == "softmax_cross_entropy":
        shifted = xp.exp(outputs - outputs.max(-1, keepdims=True))
        probability = shifted / shifted.sum(-1, keepdims=True)
        return {"prediction": outputs.argmax(-1), "probability": probability}
    if task.loss.name == "ordinal":
        return {"prediction": (outputs > 0).sum(-1)}
    if task.loss.name == "cosine":
        length = xp.linalg.norm(outputs, axis=-1, keepdims=True)
        return {"prediction": outputs / xp.where(length > 0, length, 1)}
    flat = outputs[..., 0] if outputs.ndim > 1 and outputs.shape[-1] == 1 else outputs
    if task.loss.name == "poisson":
        return {"prediction": xp.exp(flat.astype(wide))}
    if task.loss.name == "sigmoid_cross_entropy":
        probability = xp.asarray(jax.nn.sigmoid(flat))
        return {"prediction": (flat > 0).astype(integer), "probability": probability}
    if task.units is not None:
        return {"prediction": flat * np.float32(task.units[1]) + task.units[0]}
    return {"prediction": flat}


def round_up(batch_size: int, num_devices: int) -> int:
    """The next multiple of the number of devices; padding makes it harmless."""
    return -(-batch_size // num_devices) * num_devices
