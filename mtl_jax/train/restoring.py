"""Where a run goes on: its checkpoints and its position in the data."""

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from mtl_jax import data
from mtl_jax.train.lock import Lock
from mtl_jax.train.state import TrainState

if TYPE_CHECKING:
    from mtl_jax.checkpoint import Checkpoints


class Saver:
    """The checkpoints of a run in `workdir/checkpoints`; nothing without a work dir.

    Args:
        workdir: the work dir, or `None`.
        batches: the order of the data, whose position is saved and compared.
        task_names: the tasks in order, which are saved and compared: heads of equal
            shape would take each other's place without an error.
        validation: the order of the validation data where they take part in training.
        keep_last: how many of the last checkpoints are kept.
        best: evaluation key of the best checkpoint, or `None`.
        best_mode: "max" or "min".
        say: `(level, text)`, for messages.
    """

    def __init__(
        self,
        workdir: str | Path | None,
        batches: data.Order,
        task_names: Sequence[str],
        *,
        validation: data.Batches | None = None,
        keep_last: int,
        best: str | None,
        best_mode: Any,
        say: Callable[[str, str], None],
    ):
        self._orders = {"position": batches}
        if validation is not None:
            self._orders["validation_position"] = validation
        self._say = say
        self._task_names = list(task_names)
        self._checkpoints: Checkpoints | None = None
        self._lock: Lock | None = None
        if workdir is not None:
            from mtl_jax import checkpoint

            try:
                self._lock = Lock(Path(workdir))
            except OSError:
                self._lock = None  # the checkpoints say what is wrong, and the fix
            self._checkpoints = checkpoint.Checkpoints(
                Path(workdir) / "checkpoints",
                keep_last=keep_last,
                best_metric=best,
                best_mode=best_mode,
            )

    @property
    def directory(self) -> Path | None:
        """Where the checkpoints are."""
        return None if self._checkpoints is None else self._checkpoints.directory

    def restore(self, state: TrainState) -> TrainState:
        """The newest good checkpoint, or the state given where there is none.

        Raises:
            ValueError: a checkpoint of another model, or of a run with another order
                of the data.
        """
        if self._checkpoints is None:
            return state
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            restored = self._checkpoints.restore(state)
        for warning in caught:
            self._say("warning", str(warning.message))
        if restored is None:
            return state
        for name, order in self._orders.items():
            order.check_position(restored.meta.get(name, {}))
        if restored.meta["tasks"] != self._task_names:
            raise ValueError(
                f"{self._checkpoints.path(restored.step)} is of the tasks "
                f"{restored.meta['tasks']}; this run has {self._task_names}. Give the "
                "same tasks in the same order, or another work dir"
            )
        self._say("info", f"going on from the checkpoint of step {restored.step}")
        return restored.state

    def save(
        self, step: int, state: TrainState, scores: dict[str, Any], skipping: bool
    ) -> None:
        """Save a step, unless its losses or gradients were not finite."""
        if self._checkpoints is None:
            return
        if skipping:
            self._say(
                "warning",
                f"step {step} is not saved: its losses or gradients are not finite",
            )
            return
        self._checkpoints.save(
            step,
            state,
            meta={
                **{name: order.position(step) for name, order in self._orders.items()},
                "tasks": self._task_names,
            },
            metrics={k: v for k, v in scores.items() if isinstance(v, float)},
        )

    def last_good(self) -> str:
        """A sentence that names the last good checkpoint."""
        if self._checkpoints is None:
            return "Nothing was saved: there is no work dir."
        step = self._checkpoints.latest_step()
        if step is None:
            return f"There is no checkpoint yet in {self._checkpoints.directory}."
        return f"The last good checkpoint is {self._checkpoints.path(step)}."

    def wait(self) -> None:
        """Wait until the last save is on disk."""
        if self._checkpoints is not None:
            self._checkpoints.wait()

    def __enter__(self) -> "Saver":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if self._checkpoints is not None:
                self._checkpoints.__exit__(kind, error, trace)
        finally:
            if self._lock is not None:
                self._lock.release()
