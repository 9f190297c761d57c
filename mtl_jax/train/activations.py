"""What of the forward pass is kept in memory for the backward pass."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax

from mtl_jax.errors import unknown_name

POLICIES = (
    "everything_saveable",
    "nothing_saveable",
    "dots_saveable",
    "dots_with_no_batch_dims_saveable",
)
"""Policies of `jax.checkpoint_policies` that need no arguments."""


@dataclass(frozen=True)
class Activations:
    """How a step saves memory.

    Attributes:
        accumulate: the batch is passed through the model in so many equal parts. Of
            each, its inputs alone are kept and the rest is computed again in the
            backward pass, so that the activations in memory are those of one part.
        remat: "none": the forward pass of the trunk (of the whole model, where the loss
            function is not split) is kept; "full": it is computed again; or the name of
            a policy of `jax.checkpoint_policies`, which says what is kept.

    Raises:
        ValueError: less than one part, or an unknown policy.

    Example:
        >>> Activations(remat="dots_saveable").accumulate
        1
        >>> Activations(remat="dots")
        Traceback (most recent call last):
        ...
        ValueError: unknown remat 'dots'. ...
    """

    accumulate: int = 1
    remat: str = "none"

    def __post_init__(self) -> None:
        if self.accumulate < 1:
            raise ValueError(
                f"accumulate is {self.accumulate}; a batch has at least 1 part"
            )
        known = ("none", "full", *POLICIES)
        if self.remat not in known:
            raise unknown_name("remat", self.remat, known)

    @property
    def plain(self) -> bool:
        """Whether everything is kept."""
        return self.accumulate == 1 and self.remat == "none"

    def limited(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, of whose values no more is kept than asked for."""
        if self.plain:
            return function
        policy = None
        if self.remat in POLICIES:
            policy = getattr(jax.checkpoint_policies, self.remat)
        return jax.checkpoint(function, policy=policy)
