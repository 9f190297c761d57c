"""Gates that choose k of n experts, smoothly, and say when they have chosen."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from mtl_jax.models import calling
from mtl_jax.models.experts import Experts, mixed
from mtl_jax.models.hard_sharing import HardSharing
from mtl_jax.models.penalised import Penalised
from mtl_jax.typing import Array


def DSelectK(
    trunk: nn.Module | None,
    heads: Mapping[str, nn.Module],
    num_experts: int = 8,
    expert_features: Sequence[int] = (64,),
    num_selected: int = 2,
    per_example: bool = False,
    gamma: float = 1.0,
    entropy: float = 1e-6,
) -> HardSharing:
    """MMoE with DSelect-k gates: a task reads at most k of the n experts.

    A gate has k selectors, each of m = ⌈log2 n⌉ numbers z that become bits by a smooth
    step S, 0 below -γ/2 and 1 above γ/2. Expert i, whose bits are i in binary, has in
    a selector the weight

        r(z)_i = Π_b (S(z_b) if bit b of i else 1 - S(z_b))

    and in the gate `Σ_j softmax(α)_j r(z_j)_i`. Once all bits are 0 or 1 the gate is
    one of k experts, exactly, and stays so.

    In training, the penalty of a task (`Penalised`) is `entropy` times the entropies of
    its selectors, which drives them to a choice; and where n is no power of two, also
    `Σ_j (1 / Σ_{i<n} r(z_j)_i - 1)`, against codes that are no expert. (The paper and
    its code have no "- 1", which changes no gradient, and its code sums over the batch
    where gates depend on the example; here the penalty is a mean.)

    What is shared, and the representation, are those of MMoE; a gate for all examples
    alike reads no input.

    Args:
        trunk: module that gives a vector an example; `None`: the inputs are vectors.
        heads: task name to tower, a module `[B, D] -> outputs`.
        num_experts: n, at least 2.
        expert_features: widths of the layers of an expert; the last one is D.
        num_selected: k.
        per_example: z and α are linear functions of the example; else they are
            parameters, and a task chooses once for all examples.
        gamma: γ.
        entropy: λ; the paper tunes it, the default is that of the authors' code.

    Returns:
        A `HardSharing` of `Experts` with a `SelectingHead` a task.

    Raises:
        ValueError: numbers out of range; when called: inputs that are no vectors.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> net = DSelectK(None, {"a": nn.Dense(1), "b": nn.Dense(3)}, 4, (16,))
        >>> outputs, _ = net.init_with_output(jax.random.key(0), jnp.ones((2, 5)))
        >>> {name: out.shape for name, out in outputs.items()}
        {'a': (2, 1), 'b': (2, 3)}

    References:
        Hazimeh et al., DSelect-k: Differentiable Selection in the Mixture of Experts
        with Applications to Multi-Task Learning, NeurIPS 2021.
    """
    if num_experts < 2 or num_selected < 1 or gamma <= 0 or entropy < 0:
        raise ValueError(
            "DSelectK chooses num_selected (at least 1) of num_experts (at least 2), "
            "with a positive gamma and an entropy of 0 or more; found "
            f"num_selected={num_selected}, num_experts={num_experts}, gamma={gamma}, "
            f"entropy={entropy}"
        )
    return HardSharing(
        Experts(trunk, num_experts, tuple(expert_features), "DSelectK"),
        {
            task: SelectingHead(
                tower, num_selected, per_example, gamma, entropy, trunk is None
            )
            for task, tower in heads.items()
        },
    )


class SelectingHead(nn.Module):
    """A gate that selects of shared experts, and the tower that reads the mixture.

    Attributes:
        tower: module `[B, D] -> outputs`.
        num_selected: selectors, k.
        per_example: the gate reads the example.
        gamma: width of the smooth step.
        entropy: weight of the entropies in the penalty.
        reads_data: the gate reads inputs of the model, which are no representation.
    """

    tower: nn.Module
    num_selected: int
    per_example: bool = False
    gamma: float = 1.0
    entropy: float = 1e-6
    reads_data: bool = False

    @nn.compact
    def __call__(
        self, z: Mapping[str, Array], train: bool = False
    ) -> Array | Penalised:
        """`{"input": [B, d], "experts": [B, n, D]} -> outputs`, in training with the
        penalty."""
        experts = z["experts"]
        x = jax.lax.stop_gradient(z["input"]) if self.reads_data else z["input"]
        count = experts.shape[1]
        shape = (self.num_selected, math.ceil(math.log2(count)))
        codes = self._logits(x, "codes", shape, self.gamma / 100)
        chosen = selections(smooth_step(codes, self.gamma), count)  # [..., k, n]
        shares = nn.softmax(self._logits(x, "shares", shape[:1], 0.05))
        weights = jnp.einsum("...k,...kn->...n", shares, chosen)
        outputs = calling.call(self.tower, mixed(weights, experts), train)
        if not train:
            return outputs
        penalty = self.entropy * jnp.sum(_entropies(chosen), axis=-1)
        if count < 2 ** shape[1]:
            penalty += jnp.sum(1 / jnp.sum(chosen, axis=-1) - 1, axis=-1)
        return Penalised(outputs, jnp.broadcast_to(penalty, experts.shape[:1]))

    def _logits(
        self, x: Array, name: str, shape: tuple[int, ...], scale: float
    ) -> Array:
        """`[*shape]`, or of each example `[B, *shape]`, uniform in ±scale at first."""

        def init(key: Array, shape: Any, dtype: Any = jnp.float32) -> Array:
            return jax.random.uniform(key, shape, dtype, -scale, scale)

        if not self.per_example:
            return self.param(name, init, shape)
        layer = nn.Dense(math.prod(shape), kernel_init=init, bias_init=init, name=name)
        return layer(x).reshape(x.shape[0], *shape)


def smooth_step(t: Array, gamma: float) -> Array:
    """0 below -γ/2, 1 above γ/2, and between them the cubic that joins them smoothly.

    Example:
        >>> print(smooth_step(jnp.array([-1.0, 0.0, 0.25, 1.0]), 1.0))
        [0.      0.5     0.84375 1.     ]
    """
    t = jnp.clip(t / gamma, -0.5, 0.5)
    return 0.5 + 1.5 * t - 2 * t**3


def selections(steps: Array, count: int) -> Array:
    """The weights of experts in each selector, `[..., m] -> [..., count]`.

    Expert i has the bits of i, the first of them the highest.

    Example:
        >>> print(selections(jnp.array([1.0, 0.25]), 4))
        [0.   0.   0.75 0.25]
    """
    highest = steps.shape[-1] - 1
    bits = np.arange(count)[:, None] >> np.arange(highest, -1, -1) & 1
    steps = steps[..., None, :]
    return jnp.prod(jnp.where(bits == 1, steps, 1 - steps), axis=-1)


def _entropies(chosen: Array) -> Array:
    """`-Σ_i r_i log r_i`, with gradient 0 where r_i is 0."""
    safe = jnp.where(chosen > 0, chosen, 1)
    return -jnp.sum(safe * jnp.log(safe), axis=-1)
