"""The algebra of methods by name, for settings."""

from collections.abc import Callable
from typing import Any

from mtl_jax import factories
from mtl_jax.weighting import base, registry
from mtl_jax.weighting.algebra import moments
from mtl_jax.weighting.algebra.curriculum import curriculum
from mtl_jax.weighting.algebra.ema import ema
from mtl_jax.weighting.algebra.every_k import every_k
from mtl_jax.weighting.algebra.heads import with_head_weights
from mtl_jax.weighting.algebra.log_losses import with_log_losses
from mtl_jax.weighting.algebra.matched_scale import matched_scale
from mtl_jax.weighting.algebra.normalise import normalise
from mtl_jax.weighting.algebra.paths import by_layer, by_leaf
from mtl_jax.weighting.algebra.per_group import per_group
from mtl_jax.weighting.algebra.restrict import restrict
from mtl_jax.weighting.algebra.sketch import sketch
from mtl_jax.weighting.algebra.solver_dtype import with_solver_dtype
from mtl_jax.weighting.algebra.switch import switch


def _switch(
    method: base.Method, then: Any, after: int, unit: moments.Unit = "epochs"
) -> base.Method:
    """`switch`, whose second method may be a name, or a mapping of it."""
    return switch(method, registry.make_within("switch", then, "then"), after, unit)


WRAPPERS: dict[str, Callable[..., base.Method]] = {
    "curriculum": curriculum,
    "ema": ema,
    "every_k": every_k,
    "matched_scale": matched_scale,
    "normalise": normalise,
    "per_layer": lambda method: per_group(method, by_layer),
    "per_leaf": lambda method: per_group(method, by_leaf),
    "restrict": restrict,
    "sketch": sketch,
    "switch": _switch,
    "with_head_weights": with_head_weights,
    "with_log_losses": with_log_losses,
    "with_solver_dtype": with_solver_dtype,
}
"""Name to function from a method, and hyper-parameters, to a method."""


def wrap(method: base.AnyMethod, name: str, **hyperparameters: Any) -> base.Method:
    """Apply a function of the algebra by name.

    Args:
        method: the method to wrap.
        name: a key of `WRAPPERS`.
        **hyperparameters: those of the function.

    Returns:
        The wrapped method.

    Raises:
        ValueError: unknown name or hyper-parameter, one that is missing, or a method of
            a kind that the function cannot wrap.

    Example:
        >>> from mtl_jax.weighting import mgda
        >>> wrap(mgda(), "every_k", k=5).hold is None
        False
    """
    arguments = {"method": method, **hyperparameters}
    try:
        return factories.make("wrapper", WRAPPERS, name, arguments)
    except TypeError as error:  # of another kind; settings can only be wrong in value
        raise ValueError(str(error)) from error
