"""Every method by name."""

from collections.abc import Callable
from typing import Any

from mtl_jax import factories
from mtl_jax.weighting import base
from mtl_jax.weighting.gramian_based.mgda import mgda
from mtl_jax.weighting.gramian_based.pcgrad import pcgrad
from mtl_jax.weighting.jacobian_based.graddrop import graddrop
from mtl_jax.weighting.loss_based.dwa import dwa
from mtl_jax.weighting.loss_based.equal import equal
from mtl_jax.weighting.loss_based.famo import famo
from mtl_jax.weighting.loss_based.rlw import rlw
from mtl_jax.weighting.loss_based.static import static
from mtl_jax.weighting.loss_based.uw import uw

METHODS: dict[str, Callable[..., base.Method]] = {
    # loss-based
    "equal": equal,
    "static": static,
    "uw": uw,
    "dwa": dwa,
    "rlw": rlw,
    "famo": famo,
    # Gramian-based
    "mgda": mgda,
    "pcgrad": pcgrad,
    # Jacobian-based
    "graddrop": graddrop,
}
"""Name to factory; the name is the one of the method's paper in snake case."""


def make(name: str, **hyperparameters: Any) -> base.Method:
    """Build a method by name.

    Args:
        name: a key of `METHODS`.
        **hyperparameters: those of its factory.

    Returns:
        The method.

    Raises:
        ValueError: unknown name or hyper-parameter, or one that is missing; the text
            lists the known ones and the nearest match.

    Example:
        >>> make("mgda", normalise="l2")
        Traceback (most recent call last):
        ...
        ValueError: unknown hyper-parameter of method 'mgda' 'normalise'. Did you
        mean 'normalize'? Known: normalize.
    """
    return factories.make("method", METHODS, name, hyperparameters)
