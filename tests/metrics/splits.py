"""A metric over a split in uneven batches, filled up with masked garbage."""

import functools

import jax
import numpy as np

from mtl_jax import metrics

CUTS = [(), (3, 4, 11), (1,), tuple(range(1, 12))]
"""Where 12 examples are divided."""


@functools.cache
def jitted(update):
    return jax.jit(update)


def states(metric, outputs, labels, mask, cuts=(), junk=(np.nan, -1)):
    parts = [np.split(np.asarray(a), cuts) for a in (outputs, labels, mask)]
    for batch in zip(*parts, strict=True):
        rows = len(mask) + 1 - len(batch[0])
        full = [
            np.concatenate([a, np.full((rows, *a.shape[1:]), fill).astype(a.dtype)])
            for a, fill in zip(batch, (*junk, False), strict=True)
        ]
        yield jitted(metric.update)(*full)


def value(metric, *arrays, cuts=(), junk=(np.nan, -1)):
    """The value under the metric's own name, or all of them where there are several."""
    found = metrics.evaluate(metric, states(metric, *arrays, cuts, junk))
    return found.get(metric.name, found)
