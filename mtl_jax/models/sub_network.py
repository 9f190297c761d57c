"""Sub-network routing: which of the sub-networks of a level reads which of the last."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from mtl_jax.errors import unknown_name
from mtl_jax.models import calling
from mtl_jax.models.columns import side_by_side
from mtl_jax.models.experts import vector
from mtl_jax.models.hard_sharing import HardSharing
from mtl_jax.models.penalised import Penalised
from mtl_jax.models.trunks import MLP
from mtl_jax.typing import Array, PyTree

STRETCH = (-0.1, 1.1)
"""γ and ζ of the hard concrete distribution."""
SHARPNESS = 2 / 3
"""β, its temperature."""

Connection = Literal["trans", "aver"]


def SubNetworkRouting(
    trunk: nn.Module | None,
    heads: Mapping[str, nn.Module],
    num_networks: Sequence[int] = (4, 4),
    features: Sequence[int] = (64,),
    connection: Connection = "trans",
    sparsity: float = 1e-4,
) -> HardSharing:
    """Sub-network routing (SNR): connections between sub-networks are gates.

    Each level has some sub-networks `f_j`, side by side. Those of the first level read
    the output of the trunk; sub-network j of a further one reads

        SNR-Trans: v_j = Σ_i z_{ji} W_{ji} u_i,    SNR-Aver: v_j = Σ_i z_{ji} u_i

    with `u_i` what the level before gives and `z_{ji} ∈ [0, 1]` a gate; likewise the
    head of each task reads the last level. In training a gate is a sample, one a batch,
    of the hard concrete distribution with a parameter log α,

        s = sigmoid((log u - log(1 - u) + log α) / β),   u ~ U(0, 1)
        z = min(1, max(0, s (ζ - γ) + γ))

    and in evaluation it is `min(1, max(0, sigmoid(log α) (ζ - γ) + γ))`: exactly 0,
    which leaves a connection out, exactly 1, or between them. β = 2/3, γ = -0.1 and
    ζ = 1.1, as Louizos et al. propose.

    In training, `sparsity` times the expected number of gates that are not 0,

        Σ sigmoid(log α - β log(-γ / ζ))

    is a penalty (`Penalised`): of the gates of a task in its own loss, and of those
    between levels, which all tasks use, in equal parts in the losses of all, so that
    the sum of the losses has each once, as the paper's.

    Levels and their gates are shared; the gates (and `W`) of the last connections and
    the head are the task's own, and stacked where heads are alike. The representation
    is what the last level gives, with the penalty of the shared gates. The noise is of
    the stream "dropout", so that each of several devices has its own.

    Args:
        trunk: module that gives a vector an example; `None`: the inputs are vectors.
        heads: task name to module `[B, D] -> outputs`.
        num_networks: sub-networks of each level.
        features: widths of the layers of a sub-network, each followed by a rectifier;
            the last one is D.
        connection: "trans", with a matrix `[D, D]` each, or "aver".
        sparsity: λ; the paper tunes it.

    Returns:
        A `HardSharing` of the `Levels` with a `RoutedHead` a task.

    Raises:
        ValueError: numbers out of range, another connection; when called: inputs that
            are no vectors.

    Example:
        >>> heads = {"a": nn.Dense(1), "b": nn.Dense(3)}
        >>> net = SubNetworkRouting(None, heads, (2, 2), (4,))
        >>> x = jnp.ones((2, 5))
        >>> outputs, _ = jax.eval_shape(net.init_with_output, jax.random.key(0), x)
        >>> {name: out.shape for name, out in outputs.items()}
        {'a': (2, 1), 'b': (2, 3)}

    References:
        Ma et al., SNR: Sub-Network Routing for Flexible Parameter Sharing in Multi-Task
        Learning, AAAI 2019. Louizos, Welling and Kingma, Learning Sparse Neural
        Networks through L0 Regularization, ICLR 2018.
    """
    counts, widths = tuple(num_networks), tuple(features)
    if not counts or min(counts) < 1 or not widths or sparsity < 0:
        raise ValueError(
            "SubNetworkRouting has levels of at least one sub-network, with at least "
            "one layer each, and a sparsity of 0 or more; found "
            f"num_networks={counts}, features={widths}, sparsity={sparsity}"
        )
    known = ("trans", "aver")
    if connection not in known:
        raise unknown_name("connection of SubNetworkRouting", connection, known)
    levels = Levels(trunk, counts, widths, connection, sparsity / max(len(heads), 1))
    return HardSharing(
        levels,
        {task: RoutedHead(head, connection, sparsity) for task, head in heads.items()},
    )


class Levels(nn.Module):
    """A trunk, and levels of sub-networks with gates between them.

    Attributes:
        trunk: gives a vector an example, or `None`.
        counts: sub-networks of each level.
        features: widths of their layers.
        connection: "trans" or "aver".
        sparsity: of the gates, in the loss of one task.
    """

    trunk: nn.Module | None
    counts: Sequence[int]
    features: Sequence[int]
    connection: Connection
    sparsity: float

    @nn.compact
    def __call__(self, inputs: PyTree, train: bool = False) -> dict[str, Array]:
        """`{"networks": [B, n, D]}`, and "penalty" `[B]` where levels are connected."""
        x = vector(self.trunk, inputs, train, "SubNetworkRouting")
        penalty = jnp.zeros(())
        for level, count in enumerate(self.counts):
            if level:
                route = Route((count,), self.connection, name=f"route{level:02}")
                x, open_gates = route(x, train)
                penalty += self.sparsity * open_gates
            networks = MLP(self.features, name=f"level{level:02}")
            x = side_by_side(networks, count, x, train, common=not level)
        found = {"networks": jnp.swapaxes(x, 0, 1)}
        if len(self.counts) > 1:
            found["penalty"] = jnp.broadcast_to(penalty, x.shape[1:2])
        return found


class RoutedHead(nn.Module):
    """The gates of a task at the last level, and its head.

    Attributes:
        head: module `[B, D] -> outputs`.
        connection: "trans" or "aver".
        sparsity: of the gates.
    """

    head: nn.Module
    connection: Connection
    sparsity: float

    @nn.compact
    def __call__(self, z: Mapping[str, Array], train: bool = False) -> Any:
        """Outputs of what `Levels` gives, in training with the penalty."""
        networks = jnp.swapaxes(z["networks"], 0, 1)
        x, open_gates = Route((), self.connection, name="route")(networks, train)
        outputs = calling.call(self.head, x, train)
        if not train:
            return outputs
        penalty = jnp.broadcast_to(self.sparsity * open_gates, x.shape[:1])
        return Penalised(outputs, penalty + z.get("penalty", 0.0))


class Route(nn.Module):
    """Gated connections from every sub-network to each of some readers.

    Attributes:
        readers: `(m,)`, or `()` for one.
        connection: "trans" or "aver".
    """

    readers: tuple[int, ...]
    connection: Connection

    @nn.compact
    def __call__(self, networks: Array, train: bool) -> tuple[Array, Array]:
        """`[n, B, D]` to `[m, B, D]` and the expected number of open gates."""
        count, _, width = networks.shape
        shape = (*self.readers, count)
        z, open_gates = HardConcrete(shape, name="gates")(train)
        if self.connection == "aver":
            return jnp.einsum("...i,ibd->...bd", z, networks), open_gates
        m = len(self.readers)
        init = nn.initializers.lecun_normal((m, m + 1), m + 2, tuple(range(m)))
        matrices = self.param("matrices", init, (*shape, width, width))
        gated = z[..., None, None] * matrices
        return jnp.einsum("...ide,ibd->...be", gated, networks), open_gates


class HardConcrete(nn.Module):
    """Gates between 0 and 1, both included, whose number can be differentiated.

    Attributes:
        shape: of the gates.

    Example:
        >>> gates = HardConcrete((3,))
        >>> variables = {"params": {"log_alpha": jnp.array([-5.0, 0.0, 5.0])}}
        >>> print(gates.apply(variables, False)[0])
        [0.  0.5 1. ]
    """

    shape: tuple[int, ...]

    @nn.compact
    def __call__(self, train: bool = False) -> tuple[Array, Array]:
        """The gates, and how many of them are not 0 in expectation, `[]`."""
        log_alpha = self.param("log_alpha", nn.initializers.zeros, self.shape)
        low, high = STRETCH
        if train:
            # The logistic distribution is that of log u - log(1 - u).
            noise = jax.random.logistic(self.make_rng("dropout"), self.shape)
            concrete = nn.sigmoid((log_alpha + noise) / SHARPNESS)
        else:
            concrete = nn.sigmoid(log_alpha)
        z = jnp.clip(concrete * (high - low) + low, 0, 1).astype(log_alpha.dtype)
        shift = SHARPNESS * math.log(-low / high)
        return z, jnp.sum(nn.sigmoid(jnp.asarray(log_alpha, jnp.float32) - shift))
