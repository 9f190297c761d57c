"""The training loop, top to bottom: set up, restore, loop, evaluate, save."""

import contextlib
import dataclasses
import signal
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import optax

from mtl_jax import data as data_module
from mtl_jax import models, objective, tasks, weighting
from mtl_jax import parallel as data_parallel
from mtl_jax.errors import unknown_name
from mtl_jax.train import (
    checks,
    evaluation,
    feeding,
    interrupt,
    many_steps,
    restoring,
    rows,
)
from mtl_jax.train import state as states
from mtl_jax.train.activations import Activations
from mtl_jax.train.bilevel_step import VALIDATION, bilevel_step
from mtl_jax.train.guard import Guard
from mtl_jax.train.result import FitResult
from mtl_jax.train.step import train_step

Row = dict[str, Any]


class Sink(Protocol):
    """What takes the metrics rows of a run: a JSONL file, a console, …"""

    def write(self, row: Row) -> None:
        """Take one row."""


def fit(
    model: Any,
    task_list: Sequence[tasks.Task],
    data: data_module.Dataset,
    *,
    method: str | weighting.AnyMethod = "equal",
    optimizer: optax.GradientTransformation | None = None,
    epochs: int = 10,
    batch_size: int = 64,
    seed: int = 0,
    at: str = "parameters",
    gramian: str = "auto",
    task_chunk: int | None = None,
    accumulate: int = 1,
    remat: str = "none",
    compute_dtype: str = "float32",
    steps_per_call: int | None = None,
    feed: str = "auto",
    feed_limit: int = feeding.LIMIT,
    parallel: str = "auto",
    workdir: str | Path | None = None,
    best: str | None = None,
    keep_last: int = 2,
    checkpoint_every: int | None = None,
    log_every: int = 50,
    max_skipped: int = 100,
    start: Callable[[models.Variables], models.Variables] | None = None,
    make_sinks: Callable[[int], Sequence[Sink]] | None = None,
    on_step: Callable[[int], None] | None = None,
    say: Callable[[str, str], None] | None = None,
) -> FitResult:
    """Train a model on several tasks.

    With a `workdir`, everything is saved there and the same call made again goes on
    from the last checkpoint, bit for bit as if it had never stopped. SIGINT (Ctrl-C)
    and SIGTERM then save after the running call and raise `Interrupted`.

    Args:
        model: a Linen module that says what is shared, or a `Model`.
        task_list: the tasks.
        data: splits "train" and, where there are any, "validation" and "test"; each
            epoch is measured on the validation split (without one, on the test split,
            and then no best checkpoint is chosen).
        method: a weighting method, or the name of one that needs no arguments. A
            bilevel method learns from batches of the validation split in every step:
            that split then takes part in training, and what is measured on it, the
            best checkpoint included, is too good; the test split alone is unseen.
        optimizer: of all parameters; default: Adam with learning rate 1e-3.
        epochs: passes over the training split, of whole batches.
        batch_size: examples a step, over all devices.
        seed: of the initial parameters, the order of the data and all randomness.
        at: "parameters" or "representation", where Gramian and Jacobian methods look.
        gramian: how a Gramian is made; see `train.make_train_step`.
        task_chunk: how many tasks pass backwards at once; default: by the backend.
        accumulate: parts of a batch that pass through the model one after the other,
            for the memory of one; see `train.make_train_step`.
        remat: what is kept for the backward pass: "none" (nothing is computed again),
            "full" or a policy; see `train.make_train_step`.
        compute_dtype: "bfloat16": the model computes in it, in training and evaluation,
            while parameters, batch statistics, losses, Gramians and the optimizer stay
            as they are; "float32": it computes as it does by itself.
        steps_per_call: steps in one compiled call at most; rows, checkpoints and
            evaluations still come where they are due. Default: as many as take a
            fifth of a second.
        feed: "device": the training set lies on each device, "host": a thread sends
            batches ahead; "auto": "device" for sets of arrays within `feed_limit`.
        feed_limit: bytes; for an accelerator, an eighth of its memory at most.
        parallel: "auto" (pmap with several devices), "jit" or "pmap".
        workdir: directory of the checkpoints; made where it is missing.
        best: evaluation key whose best checkpoint is kept, e.g. "digit/accuracy";
            default: "mean_loss", the mean validation loss of the main tasks.
        keep_last: how many of the last checkpoints are kept beside the best.
        checkpoint_every: steps between checkpoints, beside the one of every epoch.
        log_every: steps between rows of training metrics.
        max_skipped: training stops after so many non-finite steps in a row; it is
            looked at every `min(log_every, max_skipped)` steps.
        start: what is made of the initial variables, before the first step: those of
            another run, say (`transfer.partial_restore`).
        make_sinks: `(step to go on from) -> sinks` of the metrics rows.
        on_step: called with the number of each step that is done, once the call that it
            is part of has been started.
        say: `(level, text)`, for messages; default: warnings are Python warnings, the
            rest is silence.

    Returns:
        The trained state, the rows of metrics, and the test metrics.

    Raises:
        ValueError: arguments that do not fit together, labels or outputs that do not
            fit a task, a work dir of another model, other tasks or another order of
            the data, or one that another process uses.
        TypeError: an argument of another kind.
        TrainingDiverged: `max_skipped` steps in a row were not finite.
        Interrupted: SIGINT or SIGTERM, with a work dir; the state is saved.
    """
    say = _warn if say is None else say
    task_list = checks.check_arguments(task_list, data, method, optimizer)
    checks.check_counts(
        epochs=epochs,
        log_every=log_every,
        max_skipped=max_skipped,
        checkpoint_every=checkpoint_every,
    )
    activations = Activations(accumulate, remat)

    # ---- set up -------------------------------------------------------------------
    model = model if isinstance(model, models.Model) else models.from_linen(model)
    model = models.in_dtype(model, compute_dtype)
    method = weighting.make(method) if isinstance(method, str) else method
    checks.check_bilevel(method, data, at)
    optimizer = optax.adam(1e-3) if optimizer is None else optimizer
    tasks.check_names(task_list)
    devices = data_parallel.resolve(parallel)
    data_parallel.check_divisible(batch_size, len(devices))
    batches = data_module.order(data.train, batch_size, seed=seed)
    validation = checks.validation_batches(
        method, data, batch_size, len(devices) * accumulate, seed
    )
    steps_per_epoch = batches.steps_per_epoch
    last_step = epochs * steps_per_epoch

    example = data.train.take(np.zeros(1, np.int64))["inputs"]
    state = data_parallel.place(
        states.initial(model, method, optimizer, example, len(task_list), seed, start),
        devices,
    )
    checks.check_labels(checks.with_widths(task_list, model, state, example), data)
    losses_fn = objective.make_losses(model, task_list)
    if isinstance(method, weighting.BilevelWeighting):
        step_fn = bilevel_step(
            losses_fn,
            method,
            optimizer,
            activations=activations,
            steps_per_epoch=steps_per_epoch,
        )
    else:
        step_fn = train_step(
            losses_fn,
            method,
            optimizer,
            at=at,
            gramian=gramian,
            task_chunk=task_chunk,
            activations=activations,
            steps_per_epoch=steps_per_epoch,
        )
    evaluate = evaluation.counted(model, task_list, devices)
    best, best_mode = checks.best_metric(best, task_list, data)
    # Without a validation split the test split is watched, and nothing chosen by it.
    watched = next((n for n in ("validation", "test") if getattr(data, n)), None)

    # ---- feed ---------------------------------------------------------------------
    streams = [feeding.Stream(data.train, batches)]
    if validation is not None:
        streams.append(feeding.Stream(data.validation, validation, VALIDATION))
    labels = [name for t in task_list for name in t.label_names]
    fed = feeding.choose(feed, streams, labels, feed_limit, devices)
    look_every = max(1, min(log_every, max_skipped))
    stops = (look_every, log_every, steps_per_epoch, checkpoint_every or log_every)
    most = many_steps.most_steps(
        steps_per_call,
        stops,
        feeding.bytes_of_step(fed, streams),
    )
    calls = many_steps.Calls(most, stops, last_step, paced=steps_per_call is None)

    # ---- restore ------------------------------------------------------------------
    saver = restoring.Saver(
        workdir,
        batches,
        [t.name for t in task_list],
        validation=validation,
        keep_last=keep_last,
        best=best,
        best_mode=best_mode,
        say=say,
    )
    with (
        saver,
        interrupt.Interruptions() as interruptions,
        contextlib.ExitStack() as stack,
    ):
        state = saver.restore(state)
        step = int(state.step)
        if step > last_step:
            raise ValueError(
                f"the work dir {workdir} is at step {step} (epoch "
                f"{step // steps_per_epoch}); {epochs} epochs were asked for. Ask for "
                "more epochs, or name another work dir"
            )
        source = stack.enter_context(
            feeding.make(fed, streams, labels, calls, devices, step)
        )
        call = data_parallel.wrap_call(
            many_steps.make_call(step_fn, source.pick, most > 1), devices
        )
        # ---- loop -----------------------------------------------------------------
        no_totals = data_parallel.maker(
            lambda: states.empty_totals(len(task_list)), devices
        )
        recorder = _Recorder(make_sinks(step) if make_sinks else ())
        guard = Guard(max_skipped, saver, say, int(state.skipped))
        started, seen = time.perf_counter(), 0
        scores: Row = {}
        counts: dict[str, float] = {}
        while step < last_step:
            count, parts = source.take(step)
            state, output = call(state, source.resident, parts, np.int32(count))
            step, seen = step + count, seen + count * batch_size
            epoch = -(-step // steps_per_epoch)
            if on_step is not None:
                for done in range(step - count + 1, step + 1):
                    on_step(done)
            epoch_ends = step % steps_per_epoch == 0
            if step % look_every == 0 or epoch_ends:
                guard.check(output, step)
                calls.measured(seen // batch_size, time.perf_counter() - started)
            if step % log_every == 0 or epoch_ends:
                row = rows.training_row(state.totals, output, step, epoch, task_list)
                now = time.perf_counter()
                row["examples_per_second"] = seen / (now - started)
                recorder.write(row)
                started, seen = now, 0
                state = dataclasses.replace(state, totals=no_totals())
            # ---- evaluate ---------------------------------------------------------
            scores, counts = {}, {}
            if epoch_ends and watched is not None:
                scores, counts = evaluate(state, data.split(watched), batch_size)
                scores = rows.evaluation_row(scores, task_list)
                if best is not None and best not in scores:
                    raise unknown_name("metric for the best checkpoint", best, scores)
                recorder.write(
                    {"step": step, "epoch": epoch, "split": watched, **scores}
                )
                started, seen = time.perf_counter(), 0
            # ---- save -------------------------------------------------------------
            due = checkpoint_every is not None and step % checkpoint_every == 0
            stop = interruptions.number
            if epoch_ends or due or stop is not None:
                sound = rows.is_sound(scores, counts, tasks.main_tasks(task_list))
                bad = guard.skipping(output) or not sound
                chosen_by = scores if watched == "validation" else {}
                saver.save(step, state, chosen_by, bad)
            if stop is not None and workdir is not None:
                raise interrupt.Interrupted(
                    f"interrupted at step {step} of {last_step} (epoch {epoch} of "
                    f"{epochs}). {saver.last_good()} The same command goes on from "
                    "there",
                    stop,
                )
            if stop is not None:
                signal.raise_signal(stop)
        saver.wait()

        # ---- test ---------------------------------------------------------------
        test = scores if watched == "test" else {}  # measured after the last epoch
        if data.test is not None and not test:
            test, _ = evaluate(state, data.test, batch_size)
            test = rows.evaluation_row(test, task_list)
            recorder.write({"step": step, "epoch": epochs, "split": "test", **test})
    return FitResult(
        state=state,
        history=recorder.rows,
        test=test,
        model=model,
        tasks=tuple(task_list),
        workdir=None if workdir is None else Path(workdir),
    )


class _Recorder:
    """Keeps the rows and passes them on."""

    def __init__(self, sinks: Sequence[Sink]):
        self.rows: list[Row] = []
        self._sinks = sinks

    def write(self, row: Row) -> None:
        self.rows.append(row)
        for sink in self._sinks:
            sink.write(row)


def _warn(level: str, text: str) -> None:
    if level in ("warning", "error"):
        warnings.warn(text, stacklevel=3)
