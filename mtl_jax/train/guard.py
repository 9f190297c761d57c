"""Watching for steps that were skipped."""

from collections.abc import Callable

from mtl_jax.train.compiled import StepOutput
from mtl_jax.train.restoring import Saver


class TrainingDiverged(RuntimeError):
    """Too many steps in a row had a loss or gradient that was not finite."""


class Guard:
    """Tells of skipped steps, and ends the run where they do not end.

    Args:
        limit: so many in a row end it.
        saver: knows the last good checkpoint.
        say: `(level, text)`, for messages.
        skipped: steps skipped before this run went on.
    """

    def __init__(
        self,
        limit: int,
        saver: Saver,
        say: Callable[[str, str], None],
        skipped: int,
    ):
        self._limit, self._saver, self._say = limit, saver, say
        self._skipped = skipped

    def skipping(self, output: StepOutput) -> bool:
        """Whether the last step was skipped, so that its state may be a bad one."""
        return int(output.skipped_in_a_row) > 0

    def check(self, output: StepOutput, step: int) -> None:
        """Look at the counters of a step.

        Raises:
            TrainingDiverged: the limit is reached.
        """
        skipped, in_a_row = int(output.skipped), int(output.skipped_in_a_row)
        if skipped > self._skipped:
            self._say(
                "warning",
                f"skipped {skipped - self._skipped} of the steps up to {step} "
                f"({skipped} in all): a loss, gradient or updated parameter was not "
                "finite",
            )
            self._skipped = skipped
        if in_a_row >= self._limit:
            raise TrainingDiverged(
                f"stopped at step {step}: a loss or gradient was not finite in the "
                f"last {in_a_row} steps (the limit is max_skipped={self._limit}). "
                f"{self._saver.last_good()} Try a smaller learning rate, clipped "
                "gradients, or look at the data"
            )
