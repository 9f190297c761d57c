"""The order of the examples where every task has its own."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mtl_jax import errors
from mtl_jax.data import batches
from mtl_jax.data.positions import Positions
from mtl_jax.data.streams import Streams

POLICIES = ("max", "min", "proportional")

_IDENTITY = (*batches.IDENTITY, "groups", "policy")


class GroupedBatches:
    """Batches that have examples of every group.

    A group is a block of examples, those of one task. Each has an endless stream of
    its own: a permutation of its examples, then another. A batch takes the next ones
    of every stream, spread evenly over the batch. Like `Batches` it has no state.

    =============== ================================ ================================
    policy          of a batch, a group has          an epoch ends when
    =============== ================================ ================================
    `max`           as many examples as every other  the longest group was seen once;
                                                     shorter ones come again
    `min`           as many examples as every other  the shortest group was seen once;
                                                     longer ones go on in the next
    `proportional`  a share by its length, one at    all were seen about once
                    least
    =============== ================================ ================================

    Args:
        groups: their lengths, in the order of the examples.
        batch_size: examples of one step, of all groups and devices.
        seed: a non-negative integer.
        policy: one of the table.
        shuffle: False: every group in the order of the data, again and again.

    Raises:
        ValueError: a batch that cannot be divided so, or is larger than the groups; an
            unknown policy; a negative seed.

    Example:
        >>> order = GroupedBatches((3, 6), 4, seed=0, policy="max", shuffle=False)
        >>> order.steps_per_epoch, order.shares
        (3, (2, 2))
        >>> [order.indices(step).tolist() for step in range(3)]
        [[0, 3, 1, 4], [2, 5, 0, 6], [1, 7, 2, 8]]
    """

    def __init__(
        self,
        groups: Sequence[int],
        batch_size: int,
        *,
        seed: int,
        policy: str = "max",
        shuffle: bool = True,
    ) -> None:
        if policy not in POLICIES:
            raise errors.unknown_name("length policy", policy, POLICIES)
        if seed < 0:
            raise ValueError(f"seed {seed} is negative. Give an integer from 0 on.")
        self.groups = tuple(int(n) for n in groups)
        self.num_examples = sum(self.groups)
        self.batch_size, self.seed = int(batch_size), int(seed)
        self.policy, self.shuffle = policy, bool(shuffle)
        self.shares = _shares(self.groups, self.batch_size, policy)
        lengths = [n // b for n, b in zip(self.groups, self.shares, strict=True)]
        if min(lengths) == 0:
            worst = lengths.index(0)
            raise ValueError(
                f"a batch of {batch_size} takes {self.shares[worst]} examples of group "
                f"{worst}, which has {self.groups[worst]}. Give a smaller batch_size"
                + (", or policy='proportional'." if policy != "proportional" else ".")
            )
        self.steps_per_epoch = max(lengths) if policy == "max" else min(lengths)
        # Spread over the batch, so that each device and each part has some of all.
        places = [(np.arange(b) + 0.5) / b for b in self.shares]
        self._spread = np.argsort(np.concatenate(places), kind="stable")
        identity = {field: getattr(self, field) for field in _IDENTITY}
        identity["groups"] = list(self.groups)
        self._positions = Positions(self.steps_per_epoch, identity)
        self._streams = Streams(self.groups, seed=self.seed, shuffle=self.shuffle)

    def indices(self, step: int) -> np.ndarray:
        """The examples of a step, int64 `[B]`; steps count from 0 over all epochs."""
        self._positions.locate(step)
        rows = [
            self._streams.next(group, step * share, share)
            for group, share in enumerate(self.shares)
        ]
        return np.concatenate(rows)[self._spread]

    def position(self, step: int) -> dict[str, Any]:
        """Where `step` stands, as plain numbers that go into a checkpoint's JSON."""
        return self._positions.at(step)

    def check_position(self, saved: dict[str, Any]) -> None:
        """Refuse a position that was saved for another order; see `Batches`."""
        self._positions.check(saved)


def _shares(groups: Sequence[int], batch_size: int, policy: str) -> tuple[int, ...]:
    """How many examples of each group are in a batch."""
    count = len(groups)
    if not groups or min(groups) < 1:
        raise ValueError(f"groups {tuple(groups)}: each needs one example at least.")
    if batch_size < count:
        raise ValueError(
            f"a batch of {batch_size} cannot have an example of each of the {count} "
            f"groups. Set batch_size to {count} or more."
        )
    if policy != "proportional":
        if batch_size % count:
            down, up = batch_size // count * count, -(-batch_size // count) * count
            raise ValueError(
                f"a batch of {batch_size} cannot have equally many examples of each of "
                f"the {count} groups. Set batch_size to {down} or {up}, or "
                "policy='proportional'."
            )
        return (batch_size // count,) * count
    exact = np.asarray(groups) * (batch_size - count) / sum(groups)
    shares = 1 + np.floor(exact).astype(int)
    missing = batch_size - int(shares.sum())
    shares[np.argsort(np.floor(exact) - exact, kind="stable")[:missing]] += 1
    return tuple(int(n) for n in shares)
