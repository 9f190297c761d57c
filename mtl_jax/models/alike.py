"""Which Linen modules compute the same function of their parameters."""

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from typing import Any

import flax.linen as nn
import jax
import numpy as np


def alike(a: nn.Module, b: nn.Module) -> bool:
    """Whether two modules have equal types and fields, whatever they are called.

    Modules and containers are compared field by field, arrays by value, functions by
    identity: an initializer that is made anew for each module makes modules that
    differ. (Linen names a module after the field that holds it.)

    Example:
        >>> alike(nn.Dense(3, name="a"), nn.Dense(3)), alike(nn.Dense(3), nn.Dense(4))
        (True, False)
        >>> alike(nn.Sequential([nn.Dense(3), nn.relu]),
        ...       nn.Sequential([nn.Dense(3), nn.tanh]))
        False
    """
    return type(a) is type(b) and all(
        _equal(getattr(a, field, None), getattr(b, field, None)) for field in _fields(a)
    )


def groups(modules: Mapping[str, nn.Module]) -> list[list[str]]:
    """The names of the modules, those of modules that are alike together, in order.

    Example:
        >>> groups({"a": nn.Dense(2), "b": nn.Dense(1), "c": nn.Dense(2)})
        [['a', 'c'], ['b']]
    """
    found: list[list[str]] = []
    for name, module in modules.items():
        for group in found:
            if alike(modules[group[0]], module):
                group.append(name)
                break
        else:
            found.append([name])
    return found


def parts(value: Any) -> Iterator[nn.Module]:
    """A module and all modules in its fields."""
    if isinstance(value, nn.Module):
        yield value
        for field in _fields(value):
            yield from parts(getattr(value, field, None))
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from parts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from parts(item)


def _fields(module: nn.Module) -> list[str]:
    names = (field.name for field in dataclasses.fields(module))
    return [name for name in names if name not in ("name", "parent")]


def _equal(a: Any, b: Any) -> bool:
    if a is b:
        return True
    if type(a) is not type(b):
        return False
    if isinstance(a, nn.Module):
        return alike(a, b)
    if isinstance(a, functools.partial):
        return _equal([a.func, a.args, a.keywords], [b.func, b.args, b.keywords])
    if isinstance(a, Mapping):
        return list(a) == list(b) and all(_equal(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(_equal, a, b))
    if isinstance(a, np.ndarray | jax.Array):
        same = a.shape == b.shape and a.dtype == b.dtype
        return same and np.array_equal(np.asarray(a), np.asarray(b))
    try:
        return bool(a == b)
    except (TypeError, ValueError):
        return False
