"""What the library asks of a model, whatever it is written in."""

from collections.abc import Callable
from typing import Any, NamedTuple

from mtl_jax.typing import PyTree


class Variables(NamedTuple):
    """The initial variables of a model."""

    shared: PyTree  # parameters that several tasks depend on
    specific: PyTree  # parameters of one task each
    collections: PyTree  # mutable state such as batch statistics; () without any


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
    """

    init: Callable[..., Variables]
    apply: Callable[..., tuple[dict[str, Any], PyTree]]
    encode: Callable[..., tuple[PyTree, PyTree]] | None = None
    decode: Callable[..., tuple[dict[str, Any], PyTree]] | None = None
