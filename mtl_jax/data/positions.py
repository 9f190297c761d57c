"""Where a step stands in the data, and whether a saved place means the same."""

from collections.abc import Mapping
from typing import Any


class Positions:
    """Steps as epochs and batches, of an order that follows from its identity.

    Args:
        steps_per_epoch: batches of an epoch.
        identity: what has to be equal for a saved position to mean the same batch;
            plain numbers, texts and lists.

    Example:
        >>> Positions(3, {"seed": 0}).at(7)
        {'seed': 0, 'epoch': 2, 'batch_in_epoch': 1}
    """

    def __init__(self, steps_per_epoch: int, identity: Mapping[str, Any]) -> None:
        self._steps_per_epoch, self._identity = steps_per_epoch, dict(identity)

    def locate(self, step: int) -> tuple[int, int]:
        """The epoch of a step, and its batch in it; both count from 0.

        Raises:
            ValueError: a negative step.
        """
        if step < 0:
            raise ValueError(f"step {step} is negative. Steps count from 0.")
        epoch, batch = divmod(int(step), self._steps_per_epoch)
        return epoch, batch

    def at(self, step: int) -> dict[str, Any]:
        """The place of a step, as what goes into a checkpoint's JSON."""
        epoch, batch = self.locate(step)
        return {**self._identity, "epoch": epoch, "batch_in_epoch": batch}

    def check(self, saved: Mapping[str, Any]) -> None:
        """Raise `ValueError` where a saved position is of another order of the data."""
        differing = [
            f"{field} was {saved.get(field, '(not saved)')}, is {value}"
            for field, value in self._identity.items()
            if saved.get(field) != value
        ]
        if differing:
            raise ValueError(
                f"cannot resume: {'; '.join(differing)}. The run would go on with "
                "other batches. Resume with the saved values, or start a new run in "
                "another directory."
            )
