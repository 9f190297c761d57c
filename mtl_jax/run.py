"""A run in a work dir; `trained` uses one that is there.

The work dir holds `config.json` (the settings, what they leave open as it turned out
under "resolved", versions, commit), `metrics.jsonl`, `tensorboard/`, `checkpoints/`,
`plots/`, `teacher.npz` where tasks have a teacher, `transfer.json` where it began with
another run, and `lock`, which keeps a second
process out.
"""

import contextlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import optax

from mtl_jax import (
    build,
    build_balance,
    build_pretexts,
    data,
    distil,
    models,
    parallel,
    report,
    train,
    transfer,
    weighting,
)
from mtl_jax import config as settings
from mtl_jax.config import files
from mtl_jax.data import locate
from mtl_jax.report import jsonl
from mtl_jax.train import checks

_MAY_CHANGE = (
    "train.epochs",
    "train.log_every",
    "train.keep_last",
    "train.checkpoint_every",
    "train.max_skipped",
    "train.parallel",
    "train.remat",
    "train.steps_per_call",
    "train.compilation_cache",
    "method.gramian",
    "method.task_chunk",
    "data.feed",
    "data.feed_limit",
    "data.data_dir",
)
"""Settings that a run may be continued with, changed."""


def default_workdir(config: settings.Config) -> Path:
    """`runs/NAME-METHOD-SEED`, the same for the same command."""
    return Path("runs") / f"{config.name}-{config.method.name}-{config.seed}"


def train_run(
    config: settings.Config,
    workdir: str | Path,
    *,
    level: str | None = None,
    command: Sequence[str] | None = None,
) -> train.FitResult:
    """Train as the settings say, with everything that a person sees.

    Args:
        config: the settings.
        workdir: the work dir; a run that is there already goes on.
        level: least level of messages; see `report.Console`.
        command: how the run was started, for the record.

    Returns:
        What `fit` returns.

    Raises:
        ValueError: settings that do not fit together, or a work dir of another run.
        OSError: a work dir that cannot be written.
    """
    workdir = Path(workdir).absolute()
    check_workdir(config, workdir)
    build.build_optimizer(config.optimizer, num_steps=1)
    # What is wrong in the settings is told before the data are read.
    build.build_method(config.method)
    waits = any(build_balance.asks(t) or build_pretexts.asks(t) for t in config.tasks)
    if config.tasks and config.data.name not in data.RECIPES and not waits:
        build.build(config)
    dataset = build.build_data(config)
    parts = build.build(config, dataset.facts)
    checks.check_bilevel(parts.method, dataset, config.method.at)
    goes_on = _began(workdir)
    _write_record(config, parts, workdir, dataset, command)
    if config.distil.teacher is not None:
        dataset, task_list = distil.taught(
            config.distil, dataset, parts.tasks, workdir, goes_on=goes_on
        )
        parts = parts._replace(tasks=task_list)
    steps_per_epoch = data.order(
        dataset.train, config.train.batch_size, seed=config.seed
    ).steps_per_epoch
    names = [t.name for t in parts.tasks]
    main = [t.name for t in parts.tasks if t.main]
    console = report.Console(names, main=main, level=level)
    metrics_file = workdir / "metrics.jsonl"
    paths = {
        "config": workdir / "config.json",
        "metrics": metrics_file,
        "checkpoints": workdir / "checkpoints",
        "tensorboard": workdir / "tensorboard",
        "plots": workdir / "plots",
    }

    with console:
        sinks: list[Any] = []

        def make_sinks(step: int) -> list[Any]:
            sinks.append(report.JsonlWriter(metrics_file, resume_from=step or None))
            # From step 0 too: a run killed before its first checkpoint left events.
            sinks.append(report.EventWriter(paths["tensorboard"], resume_from=step))
            console.start(
                epochs=config.train.epochs, steps_per_epoch=steps_per_epoch, step=step
            )
            return [*sinks, console]

        try:
            result = train.fit(
                parts.model,
                parts.tasks,
                dataset,
                method=parts.method,
                **build.fit_arguments(config, steps_per_epoch),
                workdir=workdir,
                best=config.train.best,
                keep_last=config.train.keep_last,
                checkpoint_every=config.train.checkpoint_every,
                log_every=config.train.log_every,
                start=_start(config, parts, workdir, console.message),
                make_sinks=make_sinks,
                on_step=console.advance,
                say=console.message,
            )
        except BaseException:
            # What goes wrong now, on a full disk say, must not hide why.
            with contextlib.suppress(OSError, ValueError):
                _end(sinks, metrics_file, paths["plots"], names)
            raise
        _end(sinks, metrics_file, paths["plots"], names)
        console.finish(jsonl.read(metrics_file), paths)
    return result


def _start(
    config: settings.Config,
    parts: build.Parts,
    workdir: Path,
    say: Callable[[str, str], None],
) -> Callable[[models.Variables], models.Variables] | None:
    """What the run begins with, where it begins with another one."""
    if config.transfer.init_from is None:
        return None
    names = [task.name for task in parts.tasks]

    def start(variables: models.Variables) -> models.Variables:
        try:
            found, told = transfer.from_run(config, variables, names)
        except FileNotFoundError:
            if transfer.has_checkpoint(workdir):
                return variables  # the run goes on from its own
            raise
        say("info", f"from {config.transfer.init_from}:\n{told}")
        if told.other_shape:
            differing = ", ".join(told.other_shape)
            say("warning", f"of another shape, initialised anew: {differing}")
        report.write_json(workdir / "transfer.json", told._asdict())
        return found

    return start


def _end(
    sinks: Sequence[Any], metrics_file: Path, plots: Path, names: Sequence[str]
) -> None:
    """Close what takes the rows and draw them."""
    for sink in sinks:
        sink.close()
    if metrics_file.is_file():
        report.draw(jsonl.read(metrics_file), plots, names)


def check_workdir(config: settings.Config, workdir: Path) -> None:
    """Raise `ValueError` where the work dir holds a run with other settings.

    Args:
        config: the settings; those that may change while a run goes on may differ.
        workdir: of a run that has begun, or of none.
    """
    if workdir.exists() and not workdir.is_dir():
        raise ValueError(f"the work dir {workdir} is a file; name a directory")
    if not (workdir / "config.json").is_file() or not _began(workdir):
        return
    record = files.read_record(workdir)["config"]
    # Settings that are newer than the run had their defaults.
    before = files.to_plain(settings.from_plain(settings.Config, record))
    now = files.to_plain(config)
    may_change = set(_MAY_CHANGE)
    if config.optimizer.schedule != "constant":
        may_change.discard("train.epochs")  # the schedule is made for their number
    lines = [
        line
        for line in files.differences(before, now)
        if line.partition(":")[0] not in may_change
    ]
    if lines:
        schedule = config.optimizer.schedule
        note = f" (the {schedule} schedule is made for their number)"
        listed = "\n  ".join(
            line + note * line.startswith("train.epochs:") for line in lines
        )
        raise ValueError(
            f"{workdir} holds a run with other settings:\n  {listed}\nName another "
            "--workdir, or start that run again with its own settings"
        )


def _began(workdir: Path) -> bool:
    """Whether anything was trained; a command that failed at once binds nobody."""
    metrics_file, directory = workdir / "metrics.jsonl", workdir / "checkpoints"
    written = metrics_file.is_file() and metrics_file.stat().st_size > 0
    return written or (directory.is_dir() and any(directory.iterdir()))


def _write_record(
    config: settings.Config,
    parts: build.Parts,
    workdir: Path,
    dataset: data.Dataset,
    command: Sequence[str] | None,
) -> None:
    """Make the work dir and its `config.json`."""
    workdir.mkdir(parents=True, exist_ok=True)
    environment = report.environment()
    if command is not None:
        environment["command"] = list(command)
    best, _ = checks.best_metric(config.train.best, parts.tasks, dataset)
    record = {
        "config": files.to_plain(config),
        "environment": environment,
        "resolved": {**_resolved(config, parts), "best": best},
        "inputs": data.each(
            lambda a: {"shape": list(a.shape[1:]), "dtype": str(a.dtype)},
            dataset.train.inputs,
        ),
        "facts": _plain(dataset.facts),
    }
    report.write_json(workdir / "config.json", record)


def _plain(facts: Any) -> Any:
    """The facts of a data set as JSON has them; of an array its shape alone."""
    if isinstance(facts, Mapping):
        found = {str(name): _plain(value) for name, value in facts.items()}
        return {name: value for name, value in found.items() if value is not None}
    if hasattr(facts, "shape"):
        return {files.SHAPE: list(facts.shape)}
    if isinstance(facts, list | tuple):
        return [_plain(value) for value in facts]
    return facts if isinstance(facts, int | float | str | bool) else None


def _resolved(config: settings.Config, parts: build.Parts) -> dict[str, Any]:
    """What the settings leave open, as it turned out."""
    devices = parallel.resolve(config.train.parallel)
    method = weighting.METHODS[config.method.name]
    return {
        "data_dir": str(locate.data_root(config.data.data_dir)),
        "parallel": "pmap" if len(devices) > 1 else "jit",
        "devices": len(devices),
        "method_args": {**_defaults(method), **config.method.args},
        "optimizer_args": {
            **_defaults(getattr(optax, config.optimizer.name)),
            **config.optimizer.args,
        },
        "tasks": {
            t.name: {
                "label": t.label_name,
                "loss": t.loss.name,
                "metrics": [m.name for m in t.metrics],
                "num_outputs": t.num_outputs,
            }
            for t in parts.tasks
        },
    }


def _defaults(factory: Any) -> dict[str, Any]:
    """The default arguments of a factory; what is not a plain value as text."""
    found = {
        name: p.default
        for name, p in inspect.signature(factory).parameters.items()
        if p.default is not p.empty
    }
    plain = (int, float, str, bool, type(None))
    return {k: v if isinstance(v, plain) else str(v) for k, v in found.items()}
