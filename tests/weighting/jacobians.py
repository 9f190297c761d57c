"""Nasty Jacobians, for any number of tasks."""

import numpy as np

P = 24
SCALES = (1e-6, 1e-3, 1.0, 1e3, 1e6)


def bank(t):
    """Name to Jacobian `[t, P]` in float64; the zero matrix is one of them."""
    rng = np.random.default_rng(t)
    generic = rng.normal(size=(t, P))
    signs = np.where(np.arange(t) % 2, -1.0, 1.0)[:, None]
    one = rng.normal(size=(1, P))
    low = max(1, t // 2)
    zero_row = generic.copy()
    zero_row[-1] = 0
    return {
        "generic": generic,
        "aligned": generic * 0.1 + one,
        "low rank": rng.normal(size=(t, low)) @ rng.normal(size=(low, P)),
        "zero": np.zeros((t, P)),
        "a zero row": zero_row,
        "equal": np.tile(one, (t, 1)),
        "opposite": signs * one,
        "collinear": signs * np.arange(1.0, t + 1)[:, None] * one,
        "nearly collinear": np.arange(1.0, t + 1)[:, None] * one
        + 1e-4 * rng.normal(size=(t, P)),
        "unbalanced": generic * np.geomspace(1e-4, 1e4, t)[:, None],
        "conflicting": generic - (1 - 0.05 / t) * generic.mean(0),
        "duplicates": generic[np.arange(t) // 2],
    }
