"""Batches of one task each, where every task has examples of its own."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mtl_jax import errors
from mtl_jax.data import batches
from mtl_jax.data.positions import Positions
from mtl_jax.data.streams import Streams

ALTERNATING = ("round_robin", "sampled")

_IDENTITY = (*batches.IDENTITY, "groups", "policy", "temperature")


class AlternatingBatches:
    """Batches whose examples are all of one group: one task a step.

    A step costs the batch of one task, and its other tasks have no labels. The examples
    of a group come in a permutation, then another; like `Batches` it has no state. An
    epoch has as many steps as all examples have whole batches.

    ============= ==================================================================
    policy        the group of a step
    ============= ==================================================================
    `round_robin` one after the other, in order
    `sampled`     each in a share `p ∝ length^(1/temperature)` of the steps of every
                  epoch, one at least, in an order that is shuffled anew
    ============= ==================================================================

    The shares of `sampled` are met in each epoch to a step, and not in the mean over
    many alone, as they would be by independent draws.

    Args:
        groups: their lengths, in the order of the examples.
        batch_size: examples of one step, over all devices.
        seed: a non-negative integer.
        policy: one of the table.
        temperature: of `sampled`, positive: 1 is in proportion to the lengths, and
            above it shares are nearer to uniform.
        shuffle: False: groups, and examples of a group, in the order of the data.

    Raises:
        ValueError: a batch that is larger than a group, an epoch with fewer steps than
            groups, an unknown policy, a temperature that is not positive, or one
            without `sampled`; a negative seed.

    Example:
        >>> order = AlternatingBatches((2, 4), 2, seed=0, shuffle=False)
        >>> order.steps_per_epoch
        3
        >>> [order.indices(step).tolist() for step in range(4)]
        [[0, 1], [2, 3], [0, 1], [4, 5]]

    References:
        Arivazhagan et al., Massively Multilingual Neural Machine Translation in the
        Wild, 2019, section 4.2 (the temperature).
    """

    def __init__(
        self,
        groups: Sequence[int],
        batch_size: int,
        *,
        seed: int,
        policy: str = "round_robin",
        temperature: float = 1.0,
        shuffle: bool = True,
    ) -> None:
        if policy not in ALTERNATING:
            raise errors.unknown_name("alternating policy", policy, ALTERNATING)
        check_temperature(policy, temperature)
        if seed < 0:
            raise ValueError(f"seed {seed} is negative. Give an integer from 0 on.")
        self.groups = tuple(int(n) for n in groups)
        if not self.groups or not 1 <= batch_size <= min(self.groups):
            raise ValueError(
                f"a batch of {batch_size} examples of one group cannot be had of the "
                f"groups {self.groups}. Set batch_size to at most "
                f"{min(self.groups, default=0)}."
            )
        self.num_examples = sum(self.groups)
        self.batch_size, self.seed = int(batch_size), int(seed)
        self.policy, self.temperature = policy, float(temperature)
        self.shuffle = bool(shuffle)
        self.steps_per_epoch = self.num_examples // self.batch_size
        if self.steps_per_epoch < len(self.groups):
            raise ValueError(
                f"an epoch has {self.steps_per_epoch} batches of {batch_size}, fewer "
                f"than the {len(self.groups)} groups. Give a smaller batch_size."
            )
        identity = {field: getattr(self, field) for field in _IDENTITY}
        identity["groups"] = list(self.groups)
        self._positions = Positions(self.steps_per_epoch, identity)
        self._streams = Streams(self.groups, seed=self.seed, shuffle=self.shuffle)
        self._steps = self._steps_of_groups()
        self._cached: tuple[int, np.ndarray] | None = None

    def group(self, step: int) -> int:
        """Whose examples a step has; steps count from 0 over all epochs."""
        return self._turn(step)[0]

    def indices(self, step: int) -> np.ndarray:
        """The examples of a step, int64 `[B]`; steps count from 0 over all epochs."""
        group, turn = self._turn(step)
        return self._streams.next(group, turn * self.batch_size, self.batch_size)

    def position(self, step: int) -> dict[str, Any]:
        """Where `step` stands, as plain numbers that go into a checkpoint's JSON."""
        return self._positions.at(step)

    def check_position(self, saved: dict[str, Any]) -> None:
        """Refuse a position that was saved for another order; see `Batches`."""
        self._positions.check(saved)

    def _turn(self, step: int) -> tuple[int, int]:
        """The group of a step, and how many batches it had before."""
        epoch, batch = self._positions.locate(step)
        if self.policy == "round_robin":
            turn, group = divmod(int(step), len(self.groups))
            return group, turn
        schedule = self._schedule(epoch)
        group = int(schedule[batch])
        before = int(np.sum(schedule[:batch] == group))
        return group, epoch * self._steps[group] + before

    def _schedule(self, epoch: int) -> np.ndarray:
        """The group of every step of an epoch."""
        cached = self._cached  # one read: a thread may replace it
        if cached is not None and cached[0] == epoch:
            return cached[1]
        found = np.repeat(np.arange(len(self.groups)), self._steps)
        if self.shuffle:
            # A word more than the key of any permutation of examples.
            random = np.random.default_rng((self.seed, epoch, 0, 1))
            found = random.permutation(found)
        self._cached = (epoch, found)
        return found

    def _steps_of_groups(self) -> tuple[int, ...]:
        """How many steps of an epoch each group has, by the largest remainders."""
        lengths = np.asarray(self.groups, np.float64)
        shares = lengths ** (1 / self.temperature)
        free = self.steps_per_epoch - len(self.groups)
        exact = np.maximum(self.steps_per_epoch * shares / shares.sum() - 1, 0)
        exact *= free / exact.sum() if exact.sum() > 0 else 0
        steps = 1 + np.floor(exact).astype(int)
        missing = self.steps_per_epoch - int(steps.sum())
        order = np.argsort(np.floor(exact) - exact, kind="stable")
        for place in range(missing):
            steps[order[place % len(order)]] += 1
        return tuple(int(n) for n in steps)


def check_temperature(policy: str, temperature: float) -> None:
    """Raise `ValueError` for a temperature that means nothing.

    Example:
        >>> check_temperature("max", 2.0)
        Traceback (most recent call last):
        ValueError: a temperature of 2.0 was given with the policy 'max'; it is of ...
    """
    if not temperature > 0:
        raise ValueError(f"the temperature is {temperature}; it must be positive")
    if temperature != 1 and policy != "sampled":
        raise ValueError(
            f"a temperature of {temperature} was given with the policy {policy!r}; it "
            "is of 'sampled' alone. Take it away, or set the policy to 'sampled'"
        )
