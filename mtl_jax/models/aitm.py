"""Adaptive information transfer: each step of a chain reads the one before it."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import flax.linen as nn
import jax.numpy as jnp

from mtl_jax.models import calling
from mtl_jax.models.esmm import one_logit
from mtl_jax.models.experts import mixed, vector
from mtl_jax.models.penalised import Penalised
from mtl_jax.models.trunks import MLP
from mtl_jax.typing import Array, PyTree


class AITM(nn.Module):
    """Adaptive information transfer multi-task framework (AITM).

    For steps that follow one another, such as click → application → approval, each with
    a tower `t_k` on the output of the trunk:

        z_1 = t_1,   z_k = AIT(t_k, g_k(z_{k-1})),   ŷ_k = sigmoid(head_k(z_k))

    with `g_k` a dense layer, and `AIT` attention over the two,

        AIT(u_1, u_2) = Σ_i w_i h_1(u_i),   w = softmax_i(<h_2(u_i), h_3(u_i)> / √d)

    The labels of a step are 1 where it and all before it were taken, and the outputs
    are logits. In training, the behavioral expectation calibrator, that a later step is
    not likelier than an earlier one, is a `Penalised` output: the loss of task k has
    `calibration · max(ŷ_k - ŷ_{k-1}, 0)` added, so that the sum of the losses is the
    paper's.

    What task k learns moves towers, transfers and, by the calibrator, the head of the
    steps before it: all but the last are shared parameters, and there is no
    representation. Without the calibrator all heads are task-specific. (Towers are not
    stacked: few, and of different roles.) The paper leaves the form of `g` and `h`
    open: here `g_k` has a rectifier, and `h` are linear without a bias.

    Attributes:
        trunk: module that gives a vector an example; `None`: the inputs are vectors.
        heads: task name to module `[B, d] -> [B, 1]`, in the order of the chain.
        tower_features: widths of the layers of a tower; the last one is d.
        calibration: α, weight of the calibrator.

    Raises:
        ValueError: when called: a head with other outputs, a tower without layers, a
            negative weight, or inputs that are no vectors.

    Example:
        >>> import jax
        >>> net = AITM(None, {"click": nn.Dense(1), "buy": nn.Dense(1)})
        >>> outputs, _ = net.init_with_output(jax.random.key(0), jnp.ones((2, 5)))
        >>> {name: out.shape for name, out in outputs.items()}
        {'click': (2, 1), 'buy': (2, 1)}

    References:
        Xi et al., Modeling the Sequential Dependence among Audience Multi-step
        Conversions with Multi-task Learning in Targeted Display Advertising, KDD 2021.
    """

    trunk: nn.Module | None
    heads: Mapping[str, nn.Module]
    tower_features: Sequence[int] = (64, 32)
    calibration: float = 0.6

    no_representation: ClassVar[str] = (
        "in AITM the tower of a step is part of the losses of all later steps"
    )

    @property
    def shared_names(self) -> tuple[str, ...]:
        """The trunk, and of all steps but the last what later steps read."""
        names = [] if self.trunk is None else ["trunk"]
        for place, task in enumerate(list(self.heads)[:-1]):
            names.append(f"towers_{task}")
            names += [f"transfers_{task}"] if place else []
            names += [f"heads_{task}"] if self.calibration else []
        return tuple(names)

    @nn.compact
    def __call__(self, inputs: PyTree, train: bool = False) -> dict[str, Any]:
        """`{task: logits [B, 1]}`; in training with the penalties."""
        if not self.tower_features or self.calibration < 0:
            raise ValueError(
                "AITM has towers of at least one layer and a calibration of 0 or more; "
                f"found tower_features={tuple(self.tower_features)} and "
                f"calibration={self.calibration}"
            )
        x = vector(self.trunk, inputs, train, "AITM")
        outputs: dict[str, Any] = {}
        z = before = None
        for task, head in self.heads.items():
            tower = MLP(self.tower_features, name=f"towers_{task}")(x)
            z = tower if z is None else Transfer(name=f"transfers_{task}")(tower, z)
            logits = one_logit(calling.call(head, z, train), task, "AITM")
            likely = nn.sigmoid(logits[:, 0])
            outputs[task] = logits
            if train and self.calibration and before is not None:
                penalty = self.calibration * nn.relu(likely - before)
                outputs[task] = Penalised(logits, penalty)
            before = likely
        return outputs


class Transfer(nn.Module):
    """What a step makes of its own tower and of the step before it."""

    @nn.compact
    def __call__(self, own: Array, before: Array) -> Array:
        """`[B, d], [B, d] -> [B, d]`."""
        width = own.shape[-1]
        given = nn.relu(nn.Dense(width, name="given")(before))
        both = jnp.stack([own, given], axis=1)
        value, query, key = (
            nn.Dense(width, use_bias=False, name=name)(both)
            for name in ("value", "query", "key")
        )
        scores = jnp.sum(query * key, axis=-1) / width**0.5
        return mixed(nn.softmax(scores), value)
