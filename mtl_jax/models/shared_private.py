"""Adversarial shared-private networks: what is in common is kept apart by force."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from mtl_jax.models import calling
from mtl_jax.models.columns import columns
from mtl_jax.models.cross_moment import CrossMoment
from mtl_jax.models.gradient_reversal import gradient_reversal
from mtl_jax.models.penalised import with_penalty
from mtl_jax.models.summary import summary
from mtl_jax.typing import Array, PyTree


class SharedPrivate(nn.Module):
    """A shared trunk beside a private one a task, with an adversary (ASP-MTL).

    Task k has the outputs `h_k([s, p_k])`, of the shared features `s = S(x)` and its
    private ones `p_k = P_k(x)`. In training its loss has added, as a `Penalised` output
    that is counted over the examples that the task labels,

        - adversarial · log softmax(D(s))_k + orthogonality · ||SᵀP_k / B||²_F

    A discriminator D guesses the task from the shared features: the examples of task k
    are those of domain k. It is behind a `gradient_reversal`, so that in the sum of the
    losses it learns to tell the tasks apart and the shared trunk to hide them (the
    paper's L_Adv). The second term keeps shared features out of the private ones
    (L_Diff).

    That has a meaning where tasks have examples of their own, as in `data.per_task`.
    Where all tasks label the same examples there is nothing to tell apart: D tends to
    even odds, whose gradient is 0; set `adversarial=0`.

    Trunk and discriminator are shared parameters, private trunks and heads
    task-specific; the private trunks are one tree with leaves `[T, ...]`, in the order
    of the tasks. There is no representation, since the private trunks read the inputs.
    To a weighting method the term of task k is part of the loss of task k: with weights
    of 0 or more, D descends and the trunk ascends, each by the weighted sum. But what a
    reversed term adds to the gradient of the trunk is no gradient of the loss it is
    in, so that promises of common descent (MGDA and its like) do not hold of that part.

    The paper's norm is a sum over the examples of one task; here it is a mean, equal
    for batches of any size, over all examples of the batch, since a model does not see
    who labels what. Of a representation with positions (pixels) D and the norm read the
    mean, of a text the pooled vector.

    Attributes:
        trunk: module of the shared trunk, which each private one is a copy of.
        heads: task name to module; the last axis of what it reads is twice as wide as
            that of the trunk.
        adversarial: λ, weight of the adversary; 0: without one.
        orthogonality: γ, weight of the norm; 0: without it.
        discriminator_features: widths of the hidden layers of D; the paper has none.

    Raises:
        ValueError: when called: a negative weight, an adversary of fewer than two
            tasks, or a trunk without a vector, pixels or pooled words.

    Example:
        >>> net = SharedPrivate(nn.Dense(4), {"a": nn.Dense(1), "b": nn.Dense(3)})
        >>> outputs, _ = net.init_with_output(jax.random.key(0), jnp.ones((2, 5)))
        >>> {name: out.shape for name, out in outputs.items()}
        {'a': (2, 1), 'b': (2, 3)}

    References:
        Liu, Qiu and Huang, Adversarial Multi-task Learning for Text Classification, ACL
        2017.
    """

    trunk: nn.Module
    heads: Mapping[str, nn.Module]
    adversarial: float = 0.05
    orthogonality: float = 0.01
    discriminator_features: Sequence[int] = ()

    no_representation: ClassVar[str] = (
        "in a shared-private model the private trunks read the inputs, beside what is "
        "shared"
    )

    @property
    def shared_names(self) -> tuple[str, ...]:
        """The trunk, and the discriminator where there is one."""
        return ("trunk", "discriminator") if self.adversarial else ("trunk",)

    @nn.compact
    def __call__(self, inputs: PyTree, train: bool = False) -> dict[str, Any]:
        """`{task: outputs}`; in training with the penalties."""
        self._check()
        private = self.trunk.clone(parent=self, name="private", _deep_clone=True)
        s = calling.call(self.trunk, inputs, train)
        p = columns(private, len(self.heads), inputs, train)
        vector = functools.partial(summary, reader="SharedPrivate")
        compared = vector(s), jax.vmap(vector, 1, 1)(p)
        outputs = {}
        for k, (task, head) in enumerate(self.heads.items()):
            both = jax.tree.map(
                lambda a, b, k=k: jnp.concatenate([a, b[:, k]], axis=-1), s, p
            )
            outputs[task] = calling.call(head, both, train)
        if not train and not self.is_initializing():
            return outputs
        terms = self._penalties(*compared)
        if not train:
            return outputs
        return {
            task: with_penalty(outputs[task], terms[:, k])
            for k, task in enumerate(self.heads)
        }

    def _penalties(self, s: Array, p: Array) -> Array:
        """`[B, d], [B, T, d] -> [B, T]`."""
        terms = jnp.zeros(p.shape[:2], jnp.float32)
        if self.adversarial:
            guess = Discriminator(
                len(self.heads), self.discriminator_features, name="discriminator"
            )
            logits = guess(gradient_reversal(s)).astype(jnp.float32)
            terms -= self.adversarial * nn.log_softmax(logits)
        if self.orthogonality:
            terms += self.orthogonality * CrossMoment(name="moments")(s, p)
        return terms

    def _check(self) -> None:
        if self.adversarial < 0 or self.orthogonality < 0:
            raise ValueError(
                "SharedPrivate has weights of 0 or more; found "
                f"adversarial={self.adversarial}, orthogonality={self.orthogonality}"
            )
        if self.adversarial and len(self.heads) < 2:
            raise ValueError(
                f"SharedPrivate has an adversary that tells tasks apart, and the tasks "
                f"{list(self.heads)}. Give it two or more, or set adversarial=0"
            )


class Discriminator(nn.Module):
    """Guesses the task of an example from its features.

    Attributes:
        num_tasks: T.
        features: widths of the hidden layers, each followed by a rectifier.
    """

    num_tasks: int
    features: Sequence[int] = ()

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """`[B, d] -> [B, T]` logits."""
        for width in self.features:
            x = nn.relu(nn.Dense(width)(x))
        return nn.Dense(self.num_tasks)(x)
