"""The order of examples that come more or less often than once an epoch."""

import hashlib
from typing import Any

import numpy as np

from mtl_jax.data import batches
from mtl_jax.data import source as source_lib
from mtl_jax.data.positions import Positions

_IDENTITY = (*batches.IDENTITY, "draws")


class DrawnBatches:
    """Batches of examples that are drawn by weights: resampling.

    An epoch has as many examples as there are, drawn anew and shuffled. It is a
    systematic sample: of N draws an example with weight `w_i` comes
    `N w_i / Σ w` times, rounded up or down by chance so that this is its mean. Like
    `Batches` it has no state: the draws follow from the seed and the epoch.

    Args:
        draws: `[N]`, non-negative, not all zero.
        batch_size: examples of one step, over all devices.
        seed: a non-negative integer.

    Raises:
        ValueError: weights that are none, a batch larger than the set, a negative seed.

    Example:
        >>> order = DrawnBatches(np.array([1.0, 1.0, 0.0, 2.0]), 4, seed=0)
        >>> sorted(order.indices(0).tolist())
        [0, 1, 3, 3]

    References:
        Madow and Madow, On the Theory of Systematic Sampling, Annals of Mathematical
        Statistics 1944.
    """

    def __init__(self, draws: np.ndarray, batch_size: int, *, seed: int) -> None:
        source_lib.check_draws(draws, len(draws))
        # The checks of a batch and a seed, and the length of an epoch.
        plain = batches.Batches(len(draws), batch_size, seed=seed)
        self.num_examples, self.batch_size = plain.num_examples, plain.batch_size
        self.seed, self.shuffle = plain.seed, True
        self.steps_per_epoch = plain.steps_per_epoch
        shares = np.asarray(draws, np.float64)
        self._sizes = shares / shares.sum() * self.num_examples
        self.draws = hashlib.sha1(shares.tobytes()).hexdigest()[:16]
        identity = {field: getattr(self, field) for field in _IDENTITY}
        self._positions = Positions(self.steps_per_epoch, identity)
        self._cached: tuple[int, np.ndarray] | None = None

    def indices(self, step: int) -> np.ndarray:
        """The examples of a step, int64 `[B]`; steps count from 0 over all epochs."""
        epoch, batch = self._positions.locate(step)
        start = batch * self.batch_size
        return self._order(epoch)[start : start + self.batch_size]

    def position(self, step: int) -> dict[str, Any]:
        """Where `step` stands, as plain numbers that go into a checkpoint's JSON."""
        return self._positions.at(step)

    def check_position(self, saved: dict[str, Any]) -> None:
        """Refuse a position that was saved for another order; see `Batches`."""
        self._positions.check(saved)

    def _order(self, epoch: int) -> np.ndarray:
        cached = self._cached  # one read: a prefetching thread may replace it
        if cached is not None and cached[0] == epoch:
            return cached[1]
        random = np.random.default_rng((self.seed, epoch))
        # Neighbours in the data would exclude each other: sample a shuffled list.
        mixed = random.permutation(self.num_examples)
        sizes = self._sizes[mixed]
        points = np.arange(self.num_examples) + random.uniform()
        ends = np.cumsum(sizes)
        found = np.searchsorted(ends, points, side="right")
        # Rounding may put the last point behind the last end.
        last = np.flatnonzero(sizes)[-1]
        order = random.permutation(mixed[np.minimum(found, last)]).astype(np.int64)
        order.flags.writeable = False
        self._cached = (epoch, order)
        return order
