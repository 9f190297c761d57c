"""Trunks in stages, for architectures that couple tasks layer by layer."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn


def stages(trunk: Any) -> tuple[nn.Module, ...]:
    """The modules that compute a trunk one after the other.

    A stage has `__call__(x, train)` or `__call__(x)`; the first one reads the inputs,
    each further one what the one before it gives: arrays `[B, ...]`, or a dict of such.
    A trunk is cut where one of its layers ends, a residual network where the resolution
    changes; what has no parameters goes with a layer beside it. Entries of a dict that
    hold no floating numbers, such as which words are present, are functions of the
    inputs alone.

    Args:
        trunk: a sequence of modules, which is the stages; or a module with a method
            `in_stages()` that gives them, as all of `models.TRUNKS` have; any other
            module is one stage.

    Raises:
        ValueError: neither a module nor a sequence of such.

    Example:
        >>> from mtl_jax.models import MLP, ResNet
        >>> [stage.features for stage in stages(MLP((64, 32)))]
        [(64,), (32,)]
        >>> len(stages(ResNet((2, 2, 2, 2)))), len(stages(nn.Dense(3)))
        (4, 1)
    """
    if isinstance(trunk, nn.Module):
        cut = getattr(trunk, "in_stages", None)
        return (trunk,) if cut is None else tuple(cut())
    modules = tuple(trunk) if isinstance(trunk, Sequence) else ()
    if not modules or not all(isinstance(module, nn.Module) for module in modules):
        raise ValueError(
            "the stages of a trunk were asked for, which are Linen modules; found "
            f"{trunk!r}. Give a trunk, or a sequence of modules that are its stages"
        )
    return modules
