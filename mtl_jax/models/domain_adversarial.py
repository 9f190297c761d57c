"""Domain-adversarial networks: one task is to be impossible from what is shared."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from mtl_jax.errors import unknown_name
from mtl_jax.models import calling
from mtl_jax.models.base import SCHEDULE
from mtl_jax.models.gradient_reversal import gradient_reversal
from mtl_jax.models.hard_sharing import HardSharing
from mtl_jax.typing import Array, PyTree


def DomainAdversarial(
    trunk: nn.Module,
    heads: Mapping[str, nn.Module],
    domain: str = "domain",
    strength: float = 1.0,
    over: int = 0,
    gamma: float = 10.0,
) -> HardSharing:
    """Hard sharing, where one task is learned against the trunk (DANN).

    The task `domain` says where an example comes from. With `z = f(x; θ)` its head
    reads `R_λ(z)`, a `gradient_reversal`: the head descends its loss, the trunk ascends
    it λ times, so that the domains become alike in z and what the other tasks learn
    from labels of one domain is of use in another. With losses `L_t` and weights `w_t`,
    the gradients of a step are

        θ:          Σ_{t≠d} w_t ∇_θ L_t - λ w_d ∇_θ L_d
        head of t:  w_t ∇ L_t,   and so for d

    where `λ = strength · (2 / (1 + exp(-γ p)) - 1)` with `p = min(step / over, 1)`
    grows from 0 as in the paper (`strength=1`, `γ=10`), or is `strength` throughout
    with `over=0`. The head of d has its whole gradient, as in the paper's experiments.
    The steps are counted in a collection "schedule", which is in the checkpoints. The
    paper anneals the learning rate too.

    The domain is an ordinary task: it has labels of all domains, a loss in the loss
    vector, metrics and a weight; nothing is hidden. The labels of the other tasks are
    missing, masked, in domains that have none. What a weighting method sees of the
    domain at the trunk is the reversed gradient, `-λ ∇L_d`: see docs/transfer.md for
    the methods for which that has a meaning.

    Args:
        trunk: module that gives a representation, or parts of it by name.
        heads: task name to module; that of `domain` among them.
        domain: name of the task that is reversed.
        strength: λ, in the end.
        over: steps in which λ grows; 0: it is `strength` from the start.
        gamma: γ, how fast.

    Returns:
        A `HardSharing` with a `Reversed` head.

    Raises:
        ValueError: no head of that name, or a number out of range.

    Example:
        >>> heads = {"sentiment": nn.Dense(1), "domain": nn.Dense(2)}
        >>> net = DomainAdversarial(nn.Dense(4), heads, over=100)
        >>> outputs, _ = net.init_with_output(jax.random.key(0), jnp.ones((2, 5)))
        >>> {name: out.shape for name, out in outputs.items()}
        {'sentiment': (2, 1), 'domain': (2, 2)}

    References:
        Ganin and Lempitsky, Unsupervised Domain Adaptation by Backpropagation, ICML
        2015.
        Ganin et al., Domain-Adversarial Training of Neural Networks, JMLR 2016.
    """
    if domain not in heads:
        raise unknown_name("task to be the domain of DomainAdversarial", domain, heads)
    if strength < 0 or over < 0 or gamma <= 0:
        raise ValueError(
            "DomainAdversarial has a strength and steps of 0 or more and a positive "
            f"gamma; found strength={strength}, over={over}, gamma={gamma}"
        )
    reversed_head = Reversed(heads[domain], strength, over, gamma)
    return HardSharing(trunk, {**heads, domain: reversed_head})


class Reversed(nn.Module):
    """A head behind a gradient reversal whose scale grows.

    Attributes:
        head: module `representation -> outputs`.
        strength: λ, in the end.
        over: steps in which it grows; 0: at once.
        gamma: how fast.
    """

    head: nn.Module
    strength: float = 1.0
    over: int = 0
    gamma: float = 10.0

    @nn.compact
    def __call__(self, z: PyTree, train: bool = False) -> Any:
        """The outputs of the head."""
        scale: Array | float = self.strength
        if self.over:
            steps = self.variable(SCHEDULE, "steps", jnp.zeros, (), jnp.int32)
            scale = self.strength * risen(steps.value / self.over, self.gamma)
            if train and self.is_mutable_collection(SCHEDULE):
                steps.value += 1

        def one(leaf: Array) -> Array:
            floating = jnp.issubdtype(jnp.result_type(leaf), jnp.floating)
            return gradient_reversal(leaf, scale) if floating else leaf

        return calling.call(self.head, jax.tree.map(one, z), train)


def risen(progress: Array | float, gamma: float = 10.0) -> Array:
    """`2 / (1 + exp(-γ p)) - 1`, with p at most 1.

    Example:
        >>> [round(float(risen(p)), 3) for p in (0.0, 0.1, 0.5, 1.0)]
        [0.0, 0.462, 0.987, 1.0]
    """
    return jnp.tanh(gamma * jnp.minimum(progress, 1) / 2)
