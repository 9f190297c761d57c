"""Jacobians on which every solver is tested: easy, degenerate and badly scaled ones."""

from typing import NamedTuple

import numpy as np

SIZES = (2, 3, 8, 40, 128)

STATIONARY = ("opposed", "zero row")
"""Those with 0 in the convex hull of the rows by construction (Pareto-stationary
points). The low-rank ones of 2 and 3 rows have it there by chance."""


def jacobians(t: int) -> dict[str, np.ndarray]:
    """Named float64 Jacobians `[T, T + 5]`, the same at every call.

    - "well-conditioned": singular values from 1 to 0.3;
    - "ill-conditioned": singular values from 1 to 1e-6, evenly in the logarithm;
    - "low-rank": rank `max(T // 2, 1)`;
    - "opposed": rows in pairs g, -g, with a generic last one where T is odd;
    - "duplicates": the second half of the rows repeats the first;
    - "zero row": the last row is 0;
    - "ratios": generic directions with norms from 1e-4 to 1e4, shuffled;
    - "conflicting": every two rows at the same obtuse angle, full rank;
    - "tiny", "huge": generic rows scaled by 1e-6 and by 1e6.
    """
    rng = np.random.default_rng(t)

    def generic() -> np.ndarray:
        return rng.normal(size=(t, t + 5))

    def with_singular_values(values: np.ndarray) -> np.ndarray:
        u, _, v = np.linalg.svd(generic(), full_matrices=False)
        return (u * values) @ v

    rank = max(t // 2, 1)
    pairs = rng.normal(size=(-(-t // 2), t + 5))
    zero = generic()
    zero[-1] = 0
    frame = np.linalg.qr(rng.normal(size=(t + 5, t)))[0].T
    return {
        "well-conditioned": with_singular_values(np.linspace(1, 0.3, t)),
        "ill-conditioned": with_singular_values(np.logspace(0, -6, t)),
        "low-rank": generic()[:, :rank] @ rng.normal(size=(rank, t + 5)),
        "opposed": np.stack([pairs, -pairs], 1).reshape(-1, t + 5)[:t],
        "duplicates": np.concatenate([pairs, pairs])[:t],
        "zero row": zero,
        "ratios": generic() * rng.permutation(np.logspace(-4, 4, t))[:, None],
        # <r_i, r_j> = -a (2 - a) / T for i != j, and the sum of the rows is not 0.
        "conflicting": (np.eye(t) - 0.9 / t) @ frame,
        "tiny": 1e-6 * generic(),
        "huge": 1e6 * generic(),
    }


class Problem(NamedTuple):
    name: str
    jacobian: np.ndarray  # [T, T + 5]
    gramian: np.ndarray  # [size, size] float64, zero outside T
    mask: np.ndarray  # [size] bool, true for the T tasks


def problems(size: int, dtype: type = np.float64) -> list[Problem]:
    """The bank in one array size: of T = 2, 3, 8 and 40 for 40, and of 128 for 128.

    The Jacobian is rounded to `dtype` and the Gramian formed in it.
    """
    found = []
    for t in [t for t in SIZES if (t == 128) == (size == 128)]:
        for name, jacobian in jacobians(t).items():
            jacobian = jacobian.astype(dtype)
            gramian = np.zeros((size, size))
            gramian[:t, :t] = jacobian @ jacobian.T
            found.append(Problem(f"{name} {t}", jacobian, gramian, np.arange(size) < t))
    return found


def stacked(found: list[Problem], n: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """`[N, size, size]` Gramians and `[N, size]` masks.

    The first problems are repeated up to `n`: one shape, one compilation.
    """
    found = [found[i % len(found)] for i in range(max(n, len(found)))]
    return np.stack([p.gramian for p in found]), np.stack([p.mask for p in found])


def condition(jacobian: np.ndarray) -> float:
    """Of the unit rows, with the singular values that are zero left out.

    Rounding the Gramian to a relative eps moves a direction by up to about eps times
    this, relative to the gradients from which it is made: no solver that sees the
    Gramian alone can do better.
    """
    norms = np.linalg.norm(jacobian, axis=1)
    rows = jacobian[norms > 0] / norms[norms > 0, None]
    values = np.linalg.svd(rows.astype(float), compute_uv=False)
    return float(values[0] / values[values > 1e-12 * values[0]][-1])


def golden_problem(golden: dict, entry: dict, dtype: type) -> Problem:
    """A case of the golden values, in the array size 40."""
    jacobian = np.array(golden["cases"][entry["case"]]["J"], dtype)
    t = len(jacobian)
    gramian = np.zeros((40, 40))
    gramian[:t, :t] = jacobian @ jacobian.T
    return Problem(entry["id"], jacobian, gramian, np.arange(40) < t)


def check_golden(entry, problem: Problem, x, key: str, dtype: type) -> None:
    """Compare weights `x [40]` with the expected direction and, if unique, weights."""
    w = np.asarray(x[problem.mask], dtype)
    assert np.isfinite(w).all(), entry["id"]
    if entry["expected"] is None or entry["tolerance"][key] is None:
        return
    relative, absolute = entry["tolerance"][key], entry["tolerance"]["d_abs"]
    expected = np.array(entry["expected"]["d"])
    if entry.get("d_unique", True):
        error = np.linalg.norm(w @ problem.jacobian - expected)
        assert error <= relative * np.linalg.norm(expected) + absolute, entry["id"]
    if entry["w_unique"]:
        expected = np.array(entry["expected"]["w"])
        assert np.abs(w - expected).max() <= relative * np.abs(expected).max()
