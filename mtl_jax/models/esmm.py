"""Entire space multi-task model: probabilities of steps that follow one another."""

import itertools
from collections.abc import Mapping, Sequence
from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp

from mtl_jax.models import calling
from mtl_jax.models.experts import vector
from mtl_jax.typing import Array, PyTree


class ESMM(nn.Module):
    """Entire space multi-task model (ESMM).

    Each step of a chain, such as view → click → purchase, has a tower that gives the
    probability of the step for those who took the one before it. The output of a task
    is the logit of having come so far, `P_k = p_1 p_2 … p_k`, so that all losses are
    over the entire space of examples: with two tasks, the click-through rate (CTR)
    `p_1` and `pCTCVR = pCTR · pCVR`. The labels of a step are 1 where it
    and all before it were taken. `conditional_logits` gives `p_k`, the conversion rate.

    The logits are exact in float32 at any probability, see `joint_logit`. A tower is
    part of the losses of its step and of all later ones, so that all towers but the
    last are shared parameters, and there is no representation. (They are not stacked:
    few, and of different roles.)

    Attributes:
        trunk: module that gives a vector an example; `None`: the inputs are vectors.
        heads: task name to tower, a module `[B, d] -> [B, 1]`, in the order of the
            chain.

    Raises:
        ValueError: when called: a tower with other outputs, or inputs that are no
            vectors.

    Example:
        >>> import jax
        >>> net = ESMM(None, {"click": nn.Dense(1), "buy": nn.Dense(1)})
        >>> outputs, _ = net.init_with_output(jax.random.key(0), jnp.ones((2, 5)))
        >>> bool(jnp.all(outputs["buy"] < outputs["click"]))
        True

    References:
        Ma et al., Entire Space Multi-Task Model: An Effective Approach for Estimating
        Post-Click Conversion Rate, SIGIR 2018.
    """

    trunk: nn.Module | None
    heads: Mapping[str, nn.Module]

    no_representation: ClassVar[str] = (
        "in ESMM the tower of a step is part of the losses of all later steps"
    )

    @property
    def shared_names(self) -> tuple[str, ...]:
        """The trunk, and all towers but the last."""
        trunk = () if self.trunk is None else ("trunk",)
        return (*trunk, *(f"heads_{task}" for task in list(self.heads)[:-1]))

    def __call__(self, inputs: PyTree, train: bool = False) -> dict[str, Array]:
        """`{task: logits [B, 1]}` of a batch of inputs."""
        x = vector(self.trunk, inputs, train, "ESMM")
        outputs: dict[str, Array] = {}
        joint = None
        for task, tower in self.heads.items():
            step = one_logit(calling.call(tower, x, train), task, "ESMM")
            joint = step if joint is None else joint_logit(joint, step)
            outputs[task] = joint
        return outputs


def joint_logit(a: Array, b: Array) -> Array:
    """The logit of the product of two probabilities, given by their logits.

    `1/(p q) = (1 + e^-a)(1 + e^-b)`, so the odds of the product are
    `1 / (e^-a + e^-b + e^(-a-b))` and its logit is

        -logsumexp(-a, -b, -a-b)

    in which nothing cancels: the value has the relative precision of its inputs
    wherever the probabilities lie, and the gradients are weights in [0, 1]. (By way of
    probabilities, or of `log p + log q` and `log(1 - p q)`, float32 is infinite from a
    logit of 17, or of 88, on.)

    Example:
        >>> print(joint_logit(jnp.array([0.0, 200.0]), jnp.array([0.0, 200.0])))
        [ -1.0986123 199.30685  ]
    """
    return -jnp.logaddexp(jnp.logaddexp(-a, -b), -a - b)


def conditional_logits(
    outputs: Mapping[str, Array], chain: Sequence[str]
) -> dict[str, Array]:
    """The logits of each step for those who took the one before it.

    Args:
        outputs: `{task: logits [B, ...]}` of an `ESMM`.
        chain: the tasks, in order.

    Returns:
        `{task: logits [B, ...]}`: what the towers gave; of the first step its output.
        The inverse of the chain, `b = y - log(1 - e^(y-a)) + log(1 + e^-a)` for the
        logits a and y of two steps in a row, which loses digits where y nears a.

    Example:
        >>> joint = joint_logit(jnp.array([1.0]), jnp.array([-2.0]))
        >>> found = conditional_logits(
        ...     {"click": jnp.array([1.0]), "buy": joint}, ("click", "buy"))
        >>> print(found["buy"].round(4))
        [-2.]
    """
    found = {chain[0]: outputs[chain[0]]}
    for before, task in itertools.pairwise(chain):
        a, y = outputs[before], outputs[task]
        found[task] = y - jnp.log(-jnp.expm1(y - a)) + jnp.logaddexp(0.0, -a)
    return found


def one_logit(outputs: Array, task: str, reader: str) -> Array:
    """The outputs of a tower as `[B, 1]`, in float32 or wider.

    Raises:
        ValueError: they are not one number an example.
    """
    if outputs.size != outputs.shape[0]:
        raise ValueError(
            f"{reader} reads one logit an example of each step; the head of task "
            f"{task!r} gives outputs of shape {tuple(outputs.shape)}. Give it one "
            "output, e.g. Dense(1)"
        )
    wide = jnp.promote_types(outputs.dtype, jnp.float32)
    return outputs.reshape(-1, 1).astype(wide)
