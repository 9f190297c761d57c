"""The outputs of several predictors as those of one: averages of what they mean."""

import jax
import jax.numpy as jnp

from mtl_jax.losses.base import Loss
from mtl_jax.typing import Array


def average(loss: Loss, outputs: Array) -> Array:
    """Outputs whose meaning is the mean of what several outputs mean.

    Of cross-entropies, the mean of the probabilities, as logits again; of `ordinal`,
    the mean of the probabilities to reach each level; of `poisson`, the mean rate; of
    `cosine`, the mean direction; of all others, the mean value.

    Args:
        loss: of the task.
        outputs: `[M, ..., C]`, of M predictors.

    Returns:
        `[..., C]`: raw outputs, as one head has them.

    Example:
        >>> from mtl_jax.losses import sigmoid_cross_entropy
        >>> outputs = jnp.log(jnp.array([[0.1 / 0.9], [0.5 / 0.5]]))
        >>> jax.nn.sigmoid(average(sigmoid_cross_entropy(), outputs)).round(3).tolist()
        [0.30000001192092896]

    References:
        Lakshminarayanan, Pritzel and Blundell, Simple and Scalable Predictive
        Uncertainty Estimation using Deep Ensembles, NeurIPS 2017, section 2.4.
    """
    outputs = jnp.asarray(outputs, jnp.float32)
    count = jnp.log(float(outputs.shape[0]))
    if loss.name == "softmax_cross_entropy":
        logs = jax.nn.log_softmax(outputs, axis=-1)
        return jax.nn.logsumexp(logs, axis=0) - count
    if loss.name in ("sigmoid_cross_entropy", "ordinal"):
        yes, no = jax.nn.log_sigmoid(outputs), jax.nn.log_sigmoid(-outputs)
        return jax.nn.logsumexp(yes, axis=0) - jax.nn.logsumexp(no, axis=0)
    if loss.name == "poisson":
        return jax.nn.logsumexp(outputs, axis=0) - count
    if loss.name == "cosine":
        lengths = jnp.linalg.norm(outputs, axis=-1, keepdims=True)
        outputs = outputs / jnp.where(lengths > 0, lengths, 1)
    return jnp.mean(outputs, axis=0)
