"""How much two representations of the same examples have in common."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from mtl_jax.typing import Array


class CrossMoment(nn.Module):
    """The squared norm of the cross moment of two sets of features.

    `||SᵀP / B||²_F = Σ_ij (mean_b s_bi p_bj)²`, for each of several `P`. It is 0 where
    no feature of one set goes with a feature of the other. Under data parallelism the
    mean is over the examples of all devices, as in a synchronised BatchNorm; where a
    batch is accumulated in parts, over those of a part.

    Attributes:
        axis_name: the data-parallel axis; a model that is trained gets to know it.

    Example:
        >>> s, p = jnp.array([[1.0, 0.0], [0.0, 1.0]]), jnp.array([[2.0], [0.0]])
        >>> print(CrossMoment().apply({}, s, p[:, None]))
        [1.]
    """

    axis_name: str | None = None

    def __call__(self, s: Array, p: Array) -> Array:
        """`[B, d], [B, n, D] -> [n]`, in float32 or wider."""
        wide = jnp.promote_types(jnp.result_type(s, p), jnp.float32)
        moments = jnp.einsum("bi,bnj->nij", s.astype(wide), p.astype(wide)) / len(s)
        if self.axis_name is not None:
            moments = jax.lax.pmean(moments, self.axis_name)
        return jnp.sum(moments**2, axis=(1, 2))
