"""Two regressions with a dial for how much they have in common."""

import numpy as np

from mtl_jax.data import source


def mmoe_synthetic(
    *,
    correlation: float = 0.5,
    features: int = 100,
    sines: int = 10,
    scale: float = 1.0,
    noise: float = 0.1,
    train: int = 10_000,
    validation: int = 1_000,
    test: int = 5_000,
    seed: int = 0,
) -> source.Dataset:
    """The synthetic data of the paper on mixtures of experts (MMoE).

    With orthogonal unit vectors `u1, u2` and the cosine `p` between the weights

        w1 = c u1,   w2 = c (p u1 + sqrt(1 - p²) u2),   x ~ N(0, I),
        y_k = w_kᵀ x + Σ_i sin(α_i w_kᵀ x + β_i) + ε_k

    The tasks are `first` and `second`. At `p = 1` they are one function with different
    noise; at 0 they look at different directions of the input.

    Args:
        correlation: p, from -1 to 1. (The labels correlate less than linearly in it;
            the facts have how much they do.)
        features: d, of the input.
        sines: m; more make the functions harder.
        scale: c.
        noise: standard deviation of ε.
        train: examples of the training split.
        validation: examples of the validation split.
        test: examples of the test split.
        seed: of the weights, of α and β, and of the examples.

    Returns:
        Inputs float32 `[N, d]`; labels float32 `[N]`. Facts: `label_correlation`, of
        the training split.

    Raises:
        ValueError: a correlation beyond 1, or fewer than two features.

    Example:
        >>> data = mmoe_synthetic(correlation=1.0, train=500, validation=10, test=10)
        >>> data.train.inputs.shape, data.facts["label_correlation"] > 0.95
        ((500, 100), True)

    References:
        Ma et al., Modeling Task Relationships in Multi-task Learning with Multi-gate
        Mixture-of-Experts, KDD 2018, section 3.2. The paper leaves the
        constants open; here α and β are drawn from N(0, 1).
    """
    if not -1 <= correlation <= 1 or features < 2:
        raise ValueError(
            f"correlation={correlation} and features={features}: give a correlation "
            "from -1 to 1, and two features or more."
        )
    random = np.random.default_rng(seed)
    basis = np.linalg.qr(random.normal(size=(features, 2)))[0].T
    other = correlation * basis[0] + np.sqrt(1 - correlation**2) * basis[1]
    weights = scale * np.stack([basis[0], other], axis=1)  # [d, 2]
    slope, phase = random.normal(size=(2, sines, 1, 1))
    counts = {"train": train, "validation": validation, "test": test}
    made = {}
    for name, count in counts.items():
        inputs = random.normal(size=(count, features))
        along = inputs @ weights
        labels = along + np.sin(slope * along + phase).sum(0)
        labels += random.normal(scale=noise, size=labels.shape)
        first, second = labels.astype(np.float32).T
        named = {"first": first, "second": second}
        if count:
            made[name] = source.ArraySource(inputs.astype(np.float32), named)
    known = np.corrcoef(np.stack(list(made["train"].labels.values())))[0, 1]
    one = {"kind": "regression"}
    return source.Dataset(
        "mmoe_synthetic",
        made["train"],
        made.get("validation"),
        made.get("test"),
        {"tasks": {"first": one, "second": one}, "label_correlation": float(known)},
    )
