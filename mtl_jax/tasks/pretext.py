"""What a task that needs no labels makes of the inputs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from mtl_jax.typing import Array, PyTree


class Examples(NamedTuple):
    """What a pretext makes of a batch of inputs."""

    views: tuple[PyTree, ...]
    """Inputs `[B, ...]` each, that the task's outputs are of; `()`: of the inputs."""
    labels: Array
    """`[B, ...]`, as the loss of the task has them."""


def only_view(
    outputs: Sequence[Array], valid: Array | None, axis_name: str | None
) -> Array:
    """The outputs of a task with one view."""
    del valid, axis_name
    (one,) = outputs
    return one


@dataclass(frozen=True)
class Pretext:
    """A self-supervised task: its inputs and labels follow from those of the batch.

    In training and in evaluation the model computes the outputs of such a task from its
    views, and those of all other tasks from the inputs as they are. In prediction there
    are no views: the outputs are of what is given.

    Attributes:
        examples: `(key, inputs) -> Examples`, a pure function. The key is that of the
            step, device and task; in evaluation always the same one.
        num_views: how many views there are; 0: the task reads the inputs as they are.
        outputs: `(outputs of each view, valid [B] or None, axis_name) -> outputs
            [B, ...]` as the loss has them; `valid` is false at what only fills a batch.
        width: of the head, where the loss sees outputs of another width.
    """

    examples: Callable[[Array, PyTree], Examples]
    num_views: int = 1
    outputs: Callable[[Sequence[Array], Array | None, Any], Array] = only_view
    width: int | None = None
