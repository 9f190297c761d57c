"""Directions of the convex problems, exact on a support and certified optimal.

A solver proposes which tasks are in the support; the direction that belongs to it is
computed here from the Jacobian itself (never from a Gramian) by orthogonal projections
in 80-bit arithmetic. The conditions of optimality are sufficient in a convex problem,
so a direction that meets them is the solution, whoever proposed the support. Each
function returns `(direction, doubt)`: the true solution is within `doubt` of it.
"""

import numpy as np
from scipy.optimize import nnls

LONG = np.longdouble


def unit_rows(jacobian):
    """Rows of norm 1 in 80 bits (0 stays 0), and the norms."""
    jacobian = np.asarray(jacobian, LONG)
    norms = np.sqrt((jacobian**2).sum(1))
    return jacobian / np.where(norms > 0, norms, 1)[:, None], norms


def basis(rows):
    """An orthonormal basis of the span (Gram-Schmidt, twice), dependent rows left out.

    Returns `q [R, P]`, `lower [R, R]` and the indices of the rows kept, with
    `rows[kept] = lower @ q`.
    """
    q, lower, kept = np.zeros((0, rows.shape[1]), LONG), [], []
    for i, row in enumerate(rows):
        rest, part = row.copy(), np.zeros(len(q), LONG)
        for _ in range(2):
            step = q @ rest
            rest, part = rest - step @ q, part + step
        length = np.sqrt(rest @ rest)
        if length > 1e-13:
            lower.append(np.append(part, length))
            q, kept = np.vstack([q, rest / length]), [*kept, i]
    square = np.zeros((len(kept), len(kept)), LONG)
    for i, line in enumerate(lower):
        square[i, : i + 1] = line
    return q, square, kept


def distance_to_cone(point, rows):
    """From a point to the non-negative combinations of the rows."""
    size = float(np.sqrt(point @ point))
    if size == 0 or not len(rows):
        return size
    return size * nnls(rows.T.astype(float), (point / size).astype(float))[1]


def forward(lower, b):
    """`lower⁻¹ b`."""
    x = np.zeros_like(b)
    for i in range(len(b)):
        x[i] = (b[i] - lower[i, :i] @ x[:i]) / lower[i, i]
    return x


def dual_cone(jacobian, u, support):
    """The projection of `Jᵀu` on `{d: J d ≥ 0}`, where `J d = 0` on the support."""
    rows, _ = unit_rows(jacobian)
    g = np.asarray(u, LONG) @ np.asarray(jacobian, LONG)
    q, _, _ = basis(rows[support])
    d = g - (q @ g) @ q
    d = d - (q @ d) @ q
    # d is the projection of a point as far from g as d - g is from the cone of rows,
    # and projections do not widen distances.
    doubt = distance_to_cone(d - g, rows[support])
    return d, doubt + max(0, -float((rows @ d).min()))


def min_norm(jacobian, support):
    """The shortest vector in the hull, the foot of the plane through the support."""
    jacobian = np.asarray(jacobian, LONG)
    points = jacobian[support]
    # From the shortest point: the differences keep its digits.
    first = np.argmin((points**2).sum(1))
    base = points[first]
    edges, _ = unit_rows(np.delete(points, first, 0) - base)
    q, _, _ = basis(edges)
    d = base - (q @ base) @ q
    d = d - (q @ d) @ q
    size = np.sqrt((points**2).sum(1).min())
    lifted = np.hstack([points / (size or 1), np.ones((len(points), 1), LONG)])
    lifted, lengths = unit_rows(lifted)
    w = nnls(lifted.T.astype(float), np.append(d / (size or 1), 1).astype(float))[0]
    w = w / lengths
    y = (w / w.sum()) @ points
    # With g·d >= |d|^2 - excess for all rows, the hull ends within its root of d.
    # Where d is nearly 0 its own rounding, in 80 bits, is what is left of it.
    lengths = np.sqrt((jacobian**2).sum(1))
    rounding = lengths * (1e-17 * np.sqrt(d @ d) + 4e-19 * size)
    excess = max(0, float((d @ d - jacobian @ d - rounding)[~support].max(initial=0)))
    return d, float(np.sqrt((y - d) @ (y - d))) + np.sqrt(excess)


def conflict_averse(jacobian, c, support):
    """The d in the ball of radius `c‖g0‖` round g0 with the largest `min_i g_i·d`.

    With `J_P = N L Q`, N the norms: `J_P d = s` and `d − g0` in the span of the rows
    give `d = g0 + Qᵀz, z = s L⁻¹N⁻¹1 − Q g0`, and `‖z‖ = c‖g0‖` is a quadratic in s.
    """
    rows, norms = unit_rows(jacobian)
    g0 = np.asarray(jacobian, LONG).mean(0)
    radius = LONG(c) * np.sqrt(g0 @ g0)
    q, lower, kept = basis(rows[support])
    unit = 1 / norms[support][kept]
    scale = unit.max()
    a, b = forward(lower, unit / scale), q @ g0
    aa, ab, bb = a @ a, a @ b, b @ b
    s = (ab + np.sqrt(max(ab**2 - aa * (bb - radius**2), LONG(0)))) / aa
    z = s * a - b
    d = g0 + z @ q
    doubt = distance_to_cone(d - g0, rows[support])
    level = s / scale
    lowest = (rows @ d - level / np.where(norms > 0, norms, 1)).min()
    return d, doubt + max(0, -float(lowest))


def error(weights, jacobian, expected):
    """The distance of `Jᵀw` from an expected direction."""
    d = np.asarray(weights, LONG) @ np.asarray(jacobian, LONG)
    return float(np.sqrt(((d - expected) ** 2).sum()))


def norm(x):
    return float(np.sqrt((np.asarray(x, LONG) ** 2).sum()))
