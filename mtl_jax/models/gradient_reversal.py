"""The gradient reversal layer: forwards the identity, backwards a change of sign."""

import jax

from mtl_jax.typing import Array


@jax.custom_jvp
def gradient_reversal(x: Array, scale: float | Array = 1.0) -> Array:
    """`x`, with a derivative of `-scale`.

    What is above learns to solve its task from `x`, and what is below learns to make
    it unsolvable: one backward pass of `loss(above(gradient_reversal(below(x))))` has
    the gradient of the loss for the parameters above, and `-scale` times it for those
    below. So the gradient is not that of a function, and no line search or promise of
    descent holds for it. It is the derivative in forward mode too.

    Args:
        x: an array.
        scale: λ, 0 or more.

    Returns:
        `x`.

    Example:
        >>> import jax.numpy as jnp
        >>> def loss(above, below):
        ...     return above * gradient_reversal(3.0 * below, 0.5)
        >>> [float(g) for g in jax.grad(loss, argnums=(0, 1))(2.0, 1.0)]
        [3.0, -3.0]

    References:
        Ganin et al., Domain-Adversarial Training of Neural Networks, JMLR 2016.
    """
    del scale
    return x


@gradient_reversal.defjvp
def _derivative(
    primals: tuple[Array, Array], tangents: tuple[Array, Array]
) -> tuple[Array, Array]:
    (x, scale), (tangent, _) = primals, tangents
    return x, (-scale * tangent).astype(tangent.dtype)
