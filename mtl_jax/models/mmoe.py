"""Multi-gate mixture of experts: every task weighs shared experts for itself."""

from collections.abc import Mapping, Sequence

import flax.linen as nn
import jax

from mtl_jax.models import calling
from mtl_jax.models.experts import Experts, gated
from mtl_jax.models.hard_sharing import HardSharing
from mtl_jax.typing import Array


def MMoE(
    trunk: nn.Module | None,
    heads: Mapping[str, nn.Module],
    num_experts: int = 8,
    expert_features: Sequence[int] = (64,),
) -> HardSharing:
    """Multi-gate mixture of experts (MMoE).

    With experts `f_i` that read `x`, the output of the trunk, task k has the outputs

        y_k = h_k(Σ_i g_k(x)_i f_i(x)),    g_k(x) = softmax(W_k x)

    (equations 6 to 8). The experts are shared; gate `W_k` and tower `h_k` are the
    task's own. So it is hard sharing of the experts, with a gate in each head, and that
    is what is made: the representation is the output of all experts, with that of the
    trunk, which the gates read. Towers that are alike are stacked with their gates.

    Args:
        trunk: module that gives a vector an example; `None`: the inputs are vectors.
        heads: task name to tower, a module `[B, D] -> outputs`.
        num_experts: n.
        expert_features: widths of the layers of an expert, each followed by a
            rectifier; the last one is D.

    Returns:
        A `HardSharing` of `Experts` with a `GatedHead` a task.

    Raises:
        ValueError: when called: no experts, no layers, or inputs that are no vectors.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> net = MMoE(None, {"a": nn.Dense(1), "b": nn.Dense(3)}, 4, (16,))
        >>> outputs, _ = net.init_with_output(jax.random.key(0), jnp.ones((2, 5)))
        >>> {name: out.shape for name, out in outputs.items()}
        {'a': (2, 1), 'b': (2, 3)}

    References:
        Ma et al., Modeling Task Relationships in Multi-task Learning with Multi-gate
        Mixture-of-Experts, KDD 2018.
    """
    return HardSharing(
        Experts(trunk, num_experts, tuple(expert_features), "MMoE"),
        {task: GatedHead(tower, trunk is None) for task, tower in heads.items()},
    )


class GatedHead(nn.Module):
    """A gate over shared experts, and the tower that reads the mixture.

    Attributes:
        tower: module `[B, D] -> outputs`.
        reads_data: the gate reads inputs of the model, which are no representation:
            nothing is learned there, and they have no part in its statistics.
    """

    tower: nn.Module
    reads_data: bool = False

    @nn.compact
    def __call__(self, z: Mapping[str, Array], train: bool = False) -> Array:
        """`{"input": [B, d], "experts": [B, n, D]} -> outputs`."""
        x = jax.lax.stop_gradient(z["input"]) if self.reads_data else z["input"]
        return calling.call(self.tower, gated(x, z["experts"], "gate"), train)
