"""What is written beside the leaves, so that a restore can be verified."""

import dataclasses
import json
import zlib
from typing import Any, NamedTuple

FORMAT = 1
"""Version of the checkpoint's layout; a newer one is refused."""


class CheckpointError(ValueError):
    """A checkpoint cannot be saved or restored; the text says which, why and the fix.

    Example:
        >>> issubclass(CheckpointError, ValueError)
        True
    """


class CheckpointWarning(UserWarning):
    """A damaged checkpoint was found and an older one is used."""


class Damaged(Exception):
    """A checkpoint is not what was written; an older one may be."""


class LeafRecord(NamedTuple):
    """Form and checksum of one leaf."""

    shape: tuple[int, ...]
    dtype: str  # "float32", "key<fry>", "python int"
    data_shape: tuple[int, ...]
    data_dtype: str  # of the array on disk: keys are kept as their uint32 data
    impl: str | None  # of a PRNG key
    crc: int


@dataclasses.dataclass(frozen=True)
class Record:
    """Everything about a step but the values of its leaves."""

    step: int
    leaves: dict[str, LeafRecord]
    metrics: dict[str, float]
    meta: dict[str, Any]

    def dump(self) -> dict[str, Any]:
        """As JSON with a checksum.

        Returns:
            What `load` takes.

        Raises:
            CheckpointError: `meta` holds what JSON cannot.

        Example:
            >>> record = Record(3, {}, {"acc": 0.5}, {"epoch": 1})
            >>> Record.load(record.dump(), 3) == record
            True
        """
        try:
            body = json.dumps({"format": FORMAT, **dataclasses.asdict(self)})
        except (TypeError, ValueError) as error:
            raise CheckpointError(
                f"the meta of step {self.step} is not JSON: {error}. Use str, int, "
                "float, bool, None, lists and dicts; arrays belong into the state."
            ) from error
        return {"body": body, "crc": zlib.crc32(body.encode())}

    @classmethod
    def load(cls, saved: Any, step: int) -> "Record":
        """Reads what `dump` gave, and verifies it.

        Args:
            saved: the JSON object.
            step: the step it is expected to describe.

        Returns:
            The record.

        Raises:
            Damaged: it is not what was written.
            CheckpointError: it was written by a newer version.

        Example:
            >>> dump = Record(3, {}, {"acc": 0.5}, {}).dump()
            >>> dump["body"] = dump["body"].replace("0.5", "0.7")
            >>> Record.load(dump, 3)
            Traceback (most recent call last):
            mtl_jax.checkpoint.record.Damaged: the meta file fails its checksum
        """
        try:
            body, crc = saved["body"], saved["crc"]
            good = zlib.crc32(body.encode()) == crc
        except (KeyError, TypeError, AttributeError, UnicodeEncodeError):
            raise Damaged("the meta file is not one of mtl_jax") from None
        if not good:
            raise Damaged("the meta file fails its checksum")
        fields = json.loads(body)
        if fields["format"] > FORMAT:
            raise CheckpointError(
                f"the checkpoint of step {step} has format {fields['format']}, this "
                f"mtl_jax reads up to {FORMAT}. Upgrade mtl_jax."
            )
        if fields["step"] != step:
            raise Damaged(f"it holds step {fields['step']}, not {step}")
        leaves = {
            name: LeafRecord(tuple(x[0]), x[1], tuple(x[2]), *x[3:])
            for name, x in fields["leaves"].items()
        }
        return cls(step, leaves, fields["metrics"], fields["meta"])
