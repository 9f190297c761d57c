"""Every loss by name."""

from collections.abc import Callable
from typing import Any

from mtl_jax import factories
from mtl_jax.losses.base import Loss
from mtl_jax.losses.count import poisson
from mtl_jax.losses.cross_entropy import sigmoid_cross_entropy, softmax_cross_entropy
from mtl_jax.losses.direction import cosine
from mtl_jax.losses.ordinal import ordinal
from mtl_jax.losses.regression import huber, mae, mse

LOSSES: dict[str, Callable[..., Loss]] = {
    "softmax_cross_entropy": softmax_cross_entropy,
    "sigmoid_cross_entropy": sigmoid_cross_entropy,
    "mse": mse,
    "mae": mae,
    "huber": huber,
    "poisson": poisson,
    "ordinal": ordinal,
    "cosine": cosine,
}


def make(name: str, **hyper: Any) -> Loss:
    """The loss of that name.

    Args:
        name: A key of `LOSSES`.
        **hyper: The factory's hyper-parameters.

    Returns:
        The `Loss`.

    Raises:
        ValueError: For an unknown name or hyper-parameter; it lists the known ones.

    Example:
        >>> make("huber", delta=2.0).name
        'huber'
    """
    return factories.make("loss", LOSSES, name, hyper)
