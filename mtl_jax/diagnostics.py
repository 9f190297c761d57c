"""What the Gramian of the task gradients tells for nothing."""

import numpy as np


def summary(gramian: np.ndarray, present: np.ndarray) -> dict[str, float]:
    """Conflict and conditioning of one step.

    Args:
        gramian: `[T, T]`.
        present: `[T]` bool; tasks without labels are left out.

    Returns:
        `conflicting_pairs`: the share of task pairs with a negative inner product;
        `min_cosine`: the cosine of the most opposed pair; `gramian_condition`: the
        ratio of the largest to the smallest eigenvalue. NaN where it has no value.

    Example:
        >>> found = summary(np.array([[1.0, -1.0], [-1.0, 4.0]]), np.ones(2, bool))
        >>> found["conflicting_pairs"], found["min_cosine"]
        (1.0, -0.5)
    """
    gramian = np.asarray(gramian, np.float64)[np.ix_(present, present)]
    pairs = np.triu_indices(len(gramian), 1)
    if not np.all(np.isfinite(gramian)) or len(gramian) < 2:
        return {
            "conflicting_pairs": float("nan"),
            "min_cosine": float("nan"),
            "gramian_condition": float("nan"),
        }
    eigenvalues = np.linalg.eigvalsh(gramian)
    lowest, highest = eigenvalues[0], eigenvalues[-1]
    return {
        "conflicting_pairs": float(np.mean(gramian[pairs] < 0)),
        "min_cosine": float(np.min(cosine_matrix(gramian)[pairs])),
        "gramian_condition": float(highest / lowest) if lowest > 0 else float("inf"),
    }


def cosine_matrix(gramian: np.ndarray) -> np.ndarray:
    """Cosines of all pairs of task gradients, `[T, T]`; 0 with a zero gradient.

    Example:
        >>> cosine_matrix(np.array([[4.0, 2.0], [2.0, 4.0]])).tolist()
        [[1.0, 0.5], [0.5, 1.0]]
    """
    norms = np.sqrt(np.diagonal(gramian))
    product = np.outer(norms, norms)
    return np.divide(gramian, product, out=np.zeros_like(product), where=product > 0)
