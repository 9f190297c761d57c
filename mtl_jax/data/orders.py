"""The order of a split, from what the split says of itself."""

from typing import TypeAlias

from mtl_jax import errors
from mtl_jax.data import alternating_batches, grouped_batches
from mtl_jax.data import source as source_lib
from mtl_jax.data.alternating_batches import AlternatingBatches
from mtl_jax.data.batches import Batches
from mtl_jax.data.drawn_batches import DrawnBatches
from mtl_jax.data.grouped_batches import GroupedBatches

Order: TypeAlias = Batches | DrawnBatches | GroupedBatches | AlternatingBatches

POLICIES = (*grouped_batches.POLICIES, *alternating_batches.ALTERNATING)
"""How an epoch goes through the groups of a split."""


def order(source: source_lib.Source, batch_size: int, *, seed: int) -> Order:
    """The order of a split.

    `Batches`; for a split with draws, `DrawnBatches`; for one with groups,
    `GroupedBatches` or `AlternatingBatches`, by its policy.

    Raises:
        ValueError: an unknown policy, a group without examples, or a batch size that
            does not fit.

    Example:
        >>> import numpy as np
        >>> source = source_lib.ArraySource(np.eye(6), {"a": np.arange(6)})
        >>> type(order(source, 2, seed=0)).__name__
        'Batches'
    """
    groups = getattr(source, "groups", ())
    draws = getattr(source, "draws", None)
    if draws is not None:
        return DrawnBatches(draws, batch_size, seed=seed)
    if not groups:
        return Batches(len(source), batch_size, seed=seed)
    policy, temperature = source.policy, source.temperature  # type: ignore[attr-defined]
    check_policy(policy, temperature)
    if not all(groups):
        raise ValueError(
            f"the training split has groups of {groups} examples, each the own "
            "examples of a task, and one of them is empty. Train on more examples "
            "(data.train_examples), or without that task"
        )
    if policy in alternating_batches.ALTERNATING:
        return AlternatingBatches(
            groups, batch_size, seed=seed, policy=policy, temperature=temperature
        )
    return GroupedBatches(groups, batch_size, seed=seed, policy=policy)


def check_policy(policy: str, temperature: float = 1.0) -> None:
    """Raise `ValueError` for a policy that there is not, or a wrong temperature."""
    if policy not in POLICIES:
        raise errors.unknown_name("length policy", policy, POLICIES)
    alternating_batches.check_temperature(policy, temperature)
