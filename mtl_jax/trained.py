"""Using a trained run: its state, its scores, its predictions. Nothing is changed."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from mtl_jax import build, checkpoint, data, train
from mtl_jax import config as settings
from mtl_jax.config import files
from mtl_jax.data.source import TOKENS
from mtl_jax.errors import unknown_name
from mtl_jax.train import checks
from mtl_jax.train import state as states
from mtl_jax.typing import PyTree


class LoadedRun(NamedTuple):
    """A trained run, read from its work dir."""

    config: settings.Config
    parts: build.Parts
    state: train.TrainState
    step: int
    example: PyTree  # shapes [1, ...] of the inputs it was trained on
    facts: Mapping[str, Any]  # what the data said of themselves


class Read(NamedTuple):
    """What a work dir says of its run, the trained state apart."""

    config: settings.Config
    parts: build.Parts
    example: PyTree  # shapes [1, ...] of the inputs it was trained on
    facts: dict[str, Any]  # of the data


def read_run(workdir: str | Path, overrides: Sequence[str] = ()) -> Read:
    """The settings of a work dir, and what they make; no checkpoint is needed.

    Raises:
        FileNotFoundError: no work dir.
        ValueError: a damaged record.
    """
    record = files.read_record(workdir)
    config = settings.from_plain(settings.Config, record["config"])
    config = settings.override(config, overrides)
    facts = files.facts(record.get("facts", {}))
    parts = build.build(config, facts)
    return Read(config, parts, files.example(record["inputs"]), facts)


def load_run(
    workdir: str | Path, which: str = "latest", *, overrides: Sequence[str] = ()
) -> LoadedRun:
    """Read the settings and a checkpoint of a work dir, changing nothing there.

    Args:
        workdir: the work dir.
        which: "latest" or "best".
        overrides: `key=value` texts, e.g. where the data lies now.

    Returns:
        The run.

    Raises:
        FileNotFoundError: no work dir, or no checkpoint in it.
        ValueError: a damaged record or checkpoint.
    """
    config, parts, example, facts = read_run(workdir, overrides)
    optimizer = build.build_optimizer(config.optimizer, num_steps=1)
    like = jax.eval_shape(
        lambda x: states.initial(
            parts.model, parts.method, optimizer, x, len(parts.tasks), config.seed
        ),
        example,
    )
    best = config.train.best or checks.DEFAULT_BEST
    mode = checks.metric_modes(parts.tasks).get(best, "min")
    directory = Path(workdir) / "checkpoints"
    with checkpoint.Checkpoints(
        directory, best_metric=best, best_mode=mode, read_only=True
    ) as checkpoints:
        if not checkpoints.steps():
            raise FileNotFoundError(
                f"there is no checkpoint in {directory} yet; train first: "
                f"mtl-jax train CONFIG --workdir {workdir}"
            )
        if which == "best":
            restored = checkpoints.restore_best(like)
        else:
            found = checkpoints.restore(like)
            assert found is not None
            restored = found
    return LoadedRun(config, parts, restored.state, restored.step, example, facts)


def evaluate_run(
    workdir: str | Path,
    split: str = "test",
    *,
    which: str = "latest",
    overrides: Sequence[str] = (),
) -> dict[str, float]:
    """The metrics of a trained run on a split, `{"task/metric": value}`."""
    return evaluate_loaded(load_run(workdir, which, overrides=overrides), split)


def evaluate_loaded(run: LoadedRun, split: str = "test") -> dict[str, float]:
    """The metrics of a run in memory on a split of its data."""
    source = build.build_data(run.config).split(split)
    evaluate = train.make_evaluation(
        run.parts.model, run.parts.tasks, parallel=run.config.train.parallel
    )
    return evaluate(run.state, source, run.config.train.batch_size)


def predict_run(
    workdir: str | Path,
    inputs: data.Inputs | str,
    *,
    which: str = "latest",
    task_names: Sequence[str] | None = None,
    overrides: Sequence[str] = (),
) -> dict[str, np.ndarray]:
    """What a trained run says of inputs.

    Args:
        workdir: the work dir.
        inputs: `[N, ...]`, or several arrays by name, as in training; or the name of a
            split.
        which: "latest" or "best".
        task_names: the tasks that are asked for; the others are not computed. Default:
            all.
        overrides: `key=value` texts.

    Returns:
        `{"task/outputs": …, "task/prediction": …, "task/probability": …}`, the last one
        for cross-entropies.

    Raises:
        ValueError: inputs of another shape than in training, or a task that there is
            not.
    """
    run = load_run(workdir, which, overrides=overrides)
    if isinstance(inputs, str):
        inputs = build.build_data(run.config).split(inputs).inputs
    else:
        check_inputs(inputs, run.example)
        inputs = build.hidden(run.config, inputs)
    known = {task.name: task for task in run.parts.tasks}
    for name in task_names or ():
        if name not in known:
            raise unknown_name("task of this run", name, known)
    outputs = train.predict(
        run.parts.model, run.state, inputs, task_names=task_names or None
    )
    result: dict[str, np.ndarray] = {}
    for task in [known[name] for name in task_names or known]:
        result[f"{task.name}/outputs"] = outputs[task.name]
        for name, value in train.decide(task, outputs[task.name]).items():
            result[f"{task.name}/{name}"] = value
    return result


def check_inputs(inputs: Any, example: PyTree) -> None:
    """Raise `ValueError` for inputs that are not like those of the training."""
    if isinstance(example, dict):
        names = sorted(inputs) if isinstance(inputs, dict) else ["inputs"]
        if names != sorted(example):
            raise ValueError(
                f"the inputs are the arrays {', '.join(names)}; the model was trained "
                f"on {', '.join(sorted(example))}"
            )
        lengths = {name: len(array) for name, array in inputs.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"the inputs have different lengths: {lengths}")
        for name, array in inputs.items():
            like = example[name]
            if name == TOKENS and np.ndim(array) == 2:  # texts may be of any length
                like = jax.ShapeDtypeStruct((1, array.shape[1]), like.dtype)
            _check_array(array, like, f"the inputs {name!r}")
        return
    if isinstance(inputs, dict):
        raise ValueError(
            f"the inputs are the arrays {', '.join(sorted(inputs))}; the model was "
            "trained on one array: name it 'inputs'"
        )
    _check_array(inputs, example, "the inputs")


def _check_array(array: np.ndarray, like: jax.ShapeDtypeStruct, what: str) -> None:
    trained_on = np.dtype(like.dtype)
    if array.shape[1:] != like.shape[1:]:
        known = ", ".join(["N", *map(str, like.shape[1:])])
        raise ValueError(
            f"{what} have shape [{', '.join(map(str, array.shape))}]; the model "
            f"was trained on [{known}]"
        )
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{what} are {array.dtype}; they have to be numbers")
    if not np.all(np.isfinite(array)):
        raise ValueError(
            f"{what} hold values that are not finite; fill them or leave those "
            "examples out"
        )
    if len(array) and trained_on.kind in "iu" and array.dtype.kind == "f":
        raise ValueError(
            f"{what} are {array.dtype}; the model was trained on {trained_on}, "
            "whose scale is another. Give the raw numbers, in an integer dtype"
        )
