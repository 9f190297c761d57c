"""Which part of a trunk's output a head reads."""

from collections.abc import Mapping

import flax.linen as nn
import jax.numpy as jnp

from mtl_jax.models.trunks import inputs as accepted
from mtl_jax.typing import Array, PyTree


def part(head: nn.Module) -> str | None:
    """The part that a head says it reads, in its attribute `reads`; `None`: all.

    Example:
        >>> from mtl_jax.models.heads import Head
        >>> part(Head(3, reads="tokens")), part(nn.Dense(3))
        ('tokens', None)
    """
    return getattr(head, "reads", None)


def by_part(heads: Mapping[str, nn.Module]) -> dict[str | None, list[str]]:
    """The tasks by what their heads read, in the order of the tasks.

    Example:
        >>> from mtl_jax.models.heads import Head
        >>> by_part({"tag": Head(3, reads="tokens"), "topic": Head(2, reads="pooled")})
        {'tokens': ['tag'], 'pooled': ['topic']}
    """
    found: dict[str | None, list[str]] = {}
    for task, head in heads.items():
        found.setdefault(part(head), []).append(task)
    return found


def array(z: PyTree, name: str | None, reader: str) -> Array:
    """The array of a trunk's output that is read, in a floating dtype.

    Args:
        z: `[B, ..., D]`, or parts by name.
        name: of the part; `None` where there are no parts.
        reader: name of the architecture, for the error.

    Returns:
        `[B, ..., D]`.

    Raises:
        ValueError: parts and a head that does not say which, or the reverse, or an
            array without an axis of features.

    Example:
        >>> array({"tokens": jnp.ones((2, 7, 4))}, None, "FiLM")
        Traceback (most recent call last):
        ...
        ValueError: FiLM reads one array [B, ..., D] a task; the trunk gives {'tokens':
        [2, 7, 4] float32} and a head reads None. Give heads that name one of its parts,
        such as models.Head(n, reads='tokens')
    """
    if isinstance(z, Mapping):
        x = z.get(name)
        fix = (
            "Give heads that name one of its parts, such as models.Head(n, "
            f"reads={next(iter(z), None)!r})"
        )
    else:
        x = z if name is None else None
        fix = "Take a trunk that gives [B, ..., D], and heads that name no part"
    if x is None or jnp.ndim(x) < 2:
        raise ValueError(
            f"{reader} reads one array [B, ..., D] a task; the trunk gives "
            f"{accepted.found(z)} and a head reads {name!r}. {fix}"
        )
    floating = jnp.issubdtype(jnp.result_type(x), jnp.floating)
    return x if floating else jnp.asarray(x, jnp.float32)


def under(name: str | None, x: Array) -> PyTree:
    """An array as a head reads it that names the part, or none.

    Example:
        >>> under("pooled", 1.0), under(None, 1.0)
        ({'pooled': 1.0}, 1.0)
    """
    return x if name is None else {name: x}
