"""What the library asks of a model, whatever it is written in."""

from collections.abc import Callable
from typing import Any, NamedTuple

from mtl_jax.stacked import Stacked
from mtl_jax.typing import PyTree

FROZEN = "frozen"
"""The collection of what a model holds and never changes, e.g. pretrained vectors: no
parameters, and equal on all devices."""
SCHEDULE = "schedule"
"""The collection of the counters of training steps that a model's own schedules read.
They count a step once, in however many parts, and another run begins without them."""


class Variables(NamedTuple):
    """The initial variables of a model."""

    shared: PyTree  # parameters that several tasks depend on
    specific: PyTree  # parameters of one task each
    collections: PyTree  # mutable state such as batch statistics; () without any


class StackedHeads(NamedTuple):
    """Heads that are computed together, from one representation that all of them read.

    The task-specific parameters of such a model, and each collection of the heads, are
    a `Stacked` by the name of the head's parameters.

    Attributes:
        task_of: from the name of the head's parameters to that of its task.
        apply: `(specific, head_collections, representation, **keywords)
            -> (Stacked {task: outputs}, head_collections)`.
        pull: `(specific, head_collections, representation, cotangents, **keywords)
            -> (gradients, rows)`, with cotangents like the outputs of `apply`: the
            gradients like `specific`, each row of one task, and the cotangent of each
            task at the representation, a `Stacked` like the outputs.
    """

    task_of: Callable[[str], str]
    apply: Callable[..., tuple[Stacked, PyTree]]
    pull: Callable[..., tuple[Stacked, Stacked]]


class Model(NamedTuple):
    """A model as pure functions.

    Every function takes the keywords `train: bool`, `key` (of dropout, or `None`) and
    `axis_name` (of data parallelism, or `None`). With `encode` and `decode`, statistics
    can be taken at the representation and the heads are differentiated once; then
    `collections` is the pair of the trunk's and the heads'.

    Attributes:
        init: `(key, inputs [B, ...]) -> Variables`.
        apply: `(shared, specific, collections, inputs, **keywords)
            -> ({task: outputs [B, ...]}, collections)`.
        encode: `(shared, trunk_collections, inputs, **keywords)
            -> (representation, trunk_collections)`, or `None`.
        decode: `(specific, head_collections, {task: representation}, **keywords)
            -> ({task: outputs}, head_collections)`, or `None`; the outputs of a task
            read its own representation alone.
        stacked: the same heads, together; `None` where each is computed alone.
        no_representation: why there is no `encode`, for the error of who asks for it.

    In training, the outputs of a task may be `models.Penalised`: with a term of the
    task's loss that is the model's own.
    """

    init: Callable[..., Variables]
    apply: Callable[..., tuple[dict[str, Any], PyTree]]
    encode: Callable[..., tuple[PyTree, PyTree]] | None = None
    decode: Callable[..., tuple[dict[str, Any], PyTree]] | None = None
    stacked: StackedHeads | None = None
    no_representation: str | None = None
