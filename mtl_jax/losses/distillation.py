"""How far a model's outputs are from those of another, its teacher."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from mtl_jax.losses.base import Loss, mean_per_example
from mtl_jax.typing import Array

QUESTIONS = ("sigmoid_cross_entropy", "ordinal")


def distance(
    loss: Loss, temperature: float = 1.0, members: int = 1
) -> Callable[[Array, Array], Array]:
    """The distance between the outputs of a student and those of a teacher.

    Of exclusive classes, with `p = softmax(teacher/τ)` and `q = softmax(student/τ)`,

        distance = τ² Σ_c p_c (log p_c − log q_c)

    (Hinton et al., section 2): their cross-entropy of soft targets, less the teacher's
    own entropy, so that the gradient is theirs and the distance of equal outputs is 0;
    τ² keeps the size of the gradient when τ changes. Yes-or-no questions and levels
    have it of each logit, as the two classes `(0, output)`; all other outputs the
    squared error (log-rates of counts and directions as they come from the head).
    Outputs and positions are averaged; padded positions count too.

    Args:
        loss: of the task.
        temperature: τ, positive; no matter for squared errors.
        members: M, heads of the student whose outputs stand one behind the other,
            `[..., M C]`: the distance is the mean of theirs (`of_members`).

    Returns:
        `(student [B, ...], teacher [B, ...]) -> [B]` float32, which no gradient enters
        the teacher by.

    Raises:
        ValueError: a temperature that is not positive.

    Example:
        >>> from mtl_jax.losses import mse, softmax_cross_entropy
        >>> away, teacher = jnp.array([[2.0, 0.0]]), jnp.array([[0.0, 0.0]])
        >>> print(distance(mse())(away, teacher))
        [2.]
        >>> round(float(distance(softmax_cross_entropy())(away, teacher)[0]), 2)
        0.43

    References:
        Hinton, Vinyals and Dean, Distilling the Knowledge in a Neural Network, 2015.
    """
    if not temperature > 0:
        raise ValueError(
            f"distillation at the temperature {temperature}; it must be positive"
        )

    def numbers(student: Array, teacher: Array) -> Array:
        return mean_per_example((student - teacher) ** 2)

    def classes(student: Array, teacher: Array) -> Array:
        log_p = jax.nn.log_softmax(teacher / temperature)
        log_q = jax.nn.log_softmax(student / temperature)
        apart = jnp.sum(jnp.exp(log_p) * (log_p - log_q), -1)
        return temperature**2 * mean_per_example(apart)

    def questions(student: Array, teacher: Array) -> Array:
        t, s = teacher / temperature, student / temperature
        yes = jax.nn.log_sigmoid(t) - jax.nn.log_sigmoid(s)
        no = jax.nn.log_sigmoid(-t) - jax.nn.log_sigmoid(-s)
        p = jax.nn.sigmoid(t)
        return temperature**2 * mean_per_example(p * yes + (1 - p) * no)

    function = numbers
    if loss.name == "softmax_cross_entropy":
        function = classes
    elif loss.name in QUESTIONS:
        function = questions

    def apart(student: Array, teacher: Array) -> Array:
        student = jnp.asarray(student, jnp.float32)
        teacher = jax.lax.stop_gradient(jnp.asarray(teacher, jnp.float32))
        if members == 1:
            return function(student, teacher.reshape(student.shape))
        each = jnp.moveaxis(student.reshape(*student.shape[:-1], members, -1), -2, 0)
        teacher = teacher.reshape(each.shape[1:])
        return jnp.mean(jax.vmap(lambda one: function(one, teacher))(each), axis=0)

    return apart
