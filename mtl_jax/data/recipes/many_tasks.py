"""As many regressions as one likes, that have a few directions in common."""

import numpy as np

from mtl_jax.data import source


def many_tasks(
    *,
    tasks: int = 138,
    features: int = 64,
    directions: int = 12,
    missing: float = 0.5,
    noise: float = 0.3,
    train: int = 4_000,
    validation: int = 500,
    test: int = 1_000,
    seed: int = 0,
) -> source.Dataset:
    """Synthetic tasks that share what they look at: `y_t = w_tᵀ tanh(U x) + ε`.

    `U` has a few rows, the same for all tasks, and `w_t` is the task's own, of unit
    length; so a joint model learns `U` from the labels of all tasks.

    Args:
        tasks: T; they are called `task_0` to `task_{T-1}`.
        features: of the input.
        directions: rows of U.
        missing: share of the labels of train that are missing and masked.
        noise: standard deviation of ε.
        train: examples of the training split.
        validation: examples of the validation split.
        test: examples of the test split.
        seed: of all that is random.

    Returns:
        Inputs float32 `[N, features]`; labels float32 `[N]` with masks.

    Example:
        >>> data = many_tasks(tasks=3, train=20, validation=5, test=5)
        >>> sorted(data.train.labels), data.test.masks["task_0"].all().item()
        (['task_0', 'task_1', 'task_2'], True)
    """
    random = np.random.default_rng(seed)
    shared = random.normal(size=(features, directions)) * 2 / np.sqrt(features)
    own = random.normal(size=(directions, tasks))
    own /= np.linalg.norm(own, axis=0)
    names = [f"task_{t}" for t in range(tasks)]
    counts = {"train": train, "validation": validation, "test": test}
    made = {}
    for split, count in counts.items():
        inputs = random.normal(size=(count, features))
        labels = np.tanh(inputs @ shared) @ own
        labels += random.normal(scale=noise, size=labels.shape)
        known = np.ones(labels.shape, bool)
        if split == "train":
            known = random.uniform(size=labels.shape) >= missing
        labels = np.where(known, labels, 0).astype(np.float32)
        if count:
            made[split] = source.ArraySource(
                inputs.astype(np.float32),
                dict(zip(names, labels.T, strict=True)),
                dict(zip(names, known.T, strict=True)),
            )
    facts = {name: {"kind": "regression"} for name in names}
    return source.Dataset(
        "many_tasks",
        made["train"],
        made.get("validation"),
        made.get("test"),
        {"tasks": facts},
    )
