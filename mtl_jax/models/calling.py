"""Modules that know of training, and modules that do not."""

import inspect
from typing import Any

import flax.linen as nn


def call(module: nn.Module, inputs: Any, train: bool) -> Any:
    """`module(inputs)`, with `train` where the module takes it.

    So a plain `nn.Dense` or `nn.Sequential` serves as a trunk or head, and one with
    dropout or BatchNorm gets to know whether it is trained.

    Args:
        module: a bound Linen module with `__call__(inputs)` or
            `__call__(inputs, train)`.
        inputs: passed on.
        train: passed on where `__call__` has a parameter of that name.
    """
    parameters = inspect.signature(type(module).__call__).parameters
    return module(inputs, train=train) if "train" in parameters else module(inputs)
