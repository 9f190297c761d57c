"""The directions of the papers, in float64, by routes that the library does not take.

Non-negative least squares (Lawson and Hanson, from SciPy) on a square root of the
Gramian, root finding in one variable, and Newton's method: slow, simple, exact.
"""

from collections.abc import Callable

import numpy as np
from scipy import optimize


def mgda(gramian: np.ndarray) -> np.ndarray:
    """The shortest vector in the convex hull."""
    # min ‖Jᵀx‖² + (1ᵀx − 1)², x ≥ 0, is a multiple of it.
    t = len(gramian)
    rows = np.vstack([_root(gramian), np.full((1, t), _scale(gramian))])
    x, _ = optimize.nnls(rows, np.append(np.zeros(len(rows) - 1), _scale(gramian)))
    return x / x.sum()


def cagrad(gramian: np.ndarray, c: float = 0.5) -> np.ndarray:
    """g0 plus the step of length c ‖g0‖ along g_w."""
    t = len(gramian)
    mean = np.full(t, 1 / t)
    length = c * np.sqrt(mean @ gramian @ mean)

    def at(factor: float) -> np.ndarray:
        # With 1ᵀw = 1, wᵀJg0 + ½ λ ‖g_w‖² is least where Σ w (g_t + g0 / λ) is
        # shortest.
        move = np.eye(t) + np.outer(np.ones(t), mean) / factor
        return mgda(move @ gramian @ move.T)

    def excess(log_factor: float) -> float:
        w = at(np.exp(log_factor))
        return np.exp(log_factor) * np.sqrt(w @ gramian @ w) - length

    w = at(np.exp(optimize.brentq(excess, -12, 24, xtol=1e-14, rtol=1e-14)))
    return mean + length / np.sqrt(w @ gramian @ w) * w


def dualproj(gramian: np.ndarray) -> np.ndarray:
    """The projection of the mean gradient on the dual cone."""
    t = len(gramian)
    return _project(gramian, np.full(t, 1 / t))


def upgrad(gramian: np.ndarray) -> np.ndarray:
    """The mean of the projections of every gradient on the dual cone."""
    return np.mean([_project(gramian, row) for row in np.eye(len(gramian))], axis=0)


def nash_mtl(gramian: np.ndarray, alpha: float = 1.0) -> np.ndarray:
    """`G w = w^(−1/α)`, the least of a convex function, by Newton's method."""
    power = 1 - 1 / alpha

    def value(w: np.ndarray) -> float:
        gain = np.log(w) if power == 0 else w**power / power
        return 0.5 * w @ gramian @ w - gain.sum()

    w = 1 / np.sqrt(np.diag(gramian))
    for _ in range(200):
        slope = gramian @ w - w ** (-1 / alpha)
        bend = gramian + np.diag(w ** (-1 / alpha - 1) / alpha)
        step = np.linalg.solve(bend, -slope)
        size = min(1.0, 0.9 / np.max(-step / w, initial=1e-9))
        while size > 1e-9 and value(w + size * step) > value(w) + 1e-4 * size * (
            slope @ step
        ):
            size /= 2
        w = w + size * step
        if np.max(np.abs(step / w)) < 1e-13:
            break
    return w


def pcgrad(gramian: np.ndarray) -> np.ndarray:
    """Algorithm 1 with the tasks in ascending order."""
    t = len(gramian)
    total = np.zeros(t)
    for i in range(t):
        row = np.eye(t)[i]
        for j in range(t):
            if j != i:
                row[j] -= min(0.0, gramian[j] @ row) / gramian[j, j]
        total += row
    return total


def imtl_g(gramian: np.ndarray) -> np.ndarray:
    """The direction with equal projections on all gradients."""
    return np.linalg.lstsq(gramian, np.sqrt(np.diag(gramian)), rcond=None)[0]


def aligned_mtl(gramian: np.ndarray) -> np.ndarray:
    """All singular values of the Jacobian as small as the smallest."""
    values, vectors = np.linalg.eigh(gramian)
    keep = values > values.max() * len(gramian) * np.finfo(np.float32).eps
    values, vectors = values[keep], vectors[:, keep]
    scale = np.sqrt(values.min() / values)
    return (vectors * scale) @ (vectors.T @ np.full(len(gramian), 1 / len(gramian)))


DIRECTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "mgda": mgda,
    "pcgrad": pcgrad,
    "cagrad": cagrad,
    "nash_mtl": nash_mtl,
    "fairgrad": lambda gramian: nash_mtl(gramian, 2.0),
    "upgrad": upgrad,
    "dualproj": dualproj,
    "imtl_g": imtl_g,
    "aligned_mtl": aligned_mtl,
}
"""Name to the weights `[T]` of the direction `Jᵀ w`, of a Gramian in float64."""


def apart(gramian: np.ndarray, one: np.ndarray, other: np.ndarray) -> float:
    """The distance of two directions of length 1, given by their weights."""
    gramian = np.asarray(gramian, np.float64)
    change = _unit(gramian, one) - _unit(gramian, other)
    return float(np.sqrt(max(change @ gramian @ change, 0)))


def _unit(gramian: np.ndarray, weights: np.ndarray) -> np.ndarray:
    weights = np.asarray(weights, np.float64)
    return weights / np.sqrt(max(weights @ gramian @ weights, 1e-300))


def _project(gramian: np.ndarray, u: np.ndarray) -> np.ndarray:
    root = _root(gramian)
    x, _ = optimize.nnls(root, -root @ u)
    return u + x


def _root(gramian: np.ndarray) -> np.ndarray:
    """R with RᵀR = G."""
    values, vectors = np.linalg.eigh(gramian)
    return np.sqrt(np.maximum(values, 0))[:, None] * vectors.T


def _scale(gramian: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.diag(gramian))))
