"""Cross-stitch networks: a network a task, whose layers read mixtures of all."""

from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from mtl_jax.models import calling
from mtl_jax.models.columns import (
    examples_first,
    own_and_others,
    side_by_side,
    stitched,
)
from mtl_jax.models.hard_sharing import HardSharing
from mtl_jax.models.stages import stages
from mtl_jax.typing import Array, PyTree


def CrossStitch(
    trunk: Any,
    heads: Mapping[str, nn.Module],
    own: float = 0.9,
    per_channel: bool = False,
) -> HardSharing:
    """Cross-stitch networks: a column a task, stitched after every stage.

    Each task has a copy of the trunk, its column. After stage l, cross-stitch units mix
    the activations `x_k` of the T columns at every place (equation 1, for T tasks)

        x̃_k = Σ_j α^l_{kj} x_j

    and the next stage of column k reads `x̃_k`; the head of task k that of the last
    stage. Row k of the last stitch is so the task's own, and with it the head; columns
    and all other stitches are shared, for every loss reaches them. The representation
    is what the columns give, before the last stitch.

    Begins as a mixture with the weight `own` at the task's own column and equal ones at
    the others; the paper finds 0.9 best, and trains α with a learning rate that is 100
    to 1000 times that of the columns, which begin from networks of the single tasks.
    Here one optimizer has one rate, and columns begin at random.

    Args:
        trunk: module or sequence of modules; see `models.stages`.
        heads: task name to module that reads what the trunk gives; their order is that
            of the columns.
        own: weight at the task's own column at first.
        per_channel: a unit a channel, α of shape `[T, T, C]`, where C is the last axis;
            default: one for all, `[T, T]`.

    Returns:
        A `HardSharing` of the `StitchedColumns` with a `StitchedHead` a task. Each head
        reads another mixture, so that heads are not stacked.

    Raises:
        ValueError: a trunk that is none.

    Example:
        >>> from mtl_jax.models import MLP
        >>> net = CrossStitch(MLP((8, 4)), {"a": nn.Dense(1), "b": nn.Dense(3)})
        >>> x = jnp.ones((2, 5))
        >>> outputs, _ = jax.eval_shape(net.init_with_output, jax.random.key(0), x)
        >>> {name: out.shape for name, out in outputs.items()}
        {'a': (2, 1), 'b': (2, 3)}

    References:
        Misra, Shrivastava, Gupta and Hebert, Cross-stitch Networks for Multi-task
        Learning, CVPR 2016.
    """
    first = own_and_others(own, len(heads))
    rows = [tuple(map(float, row)) for row in first]
    return HardSharing(
        StitchedColumns(stages(trunk), tuple(rows), per_channel),
        {
            task: StitchedHead(head, row, per_channel)
            for (task, head), row in zip(heads.items(), rows, strict=True)
        },
    )


class StitchedColumns(nn.Module):
    """Columns with a stitch after every stage but the last.

    Attributes:
        stages: of which every column has a copy.
        first: α at first, a row a column.
        per_channel: a unit a channel.
    """

    stages: Sequence[nn.Module]
    first: Sequence[Sequence[float]]
    per_channel: bool = False

    @nn.compact
    def __call__(self, inputs: PyTree, train: bool = False) -> dict[str, PyTree]:
        """`{"columns": [B, T, ...]}`, or a dict of such where the trunk gives one."""
        x, count = inputs, len(self.first)
        for place, stage in enumerate(self.stages):
            if place:
                x = Stitch(self.first, self.per_channel, name=f"stitch{place}")(x)
            x = side_by_side(stage, count, x, train, common=not place)
        return {"columns": examples_first(x)}


class StitchedHead(nn.Module):
    """The last stitch of a task, and its head.

    Attributes:
        head: module that reads what the trunk gives.
        first: α at first, `[T]`.
        per_channel: a unit a channel.
    """

    head: nn.Module
    first: Sequence[float]
    per_channel: bool = False

    @nn.compact
    def __call__(self, z: Mapping[str, PyTree], train: bool = False) -> Any:
        """`{"columns": [B, T, ...]} -> outputs`."""
        columns = examples_first(z["columns"])
        x = Stitch(self.first, self.per_channel, name="stitch")(columns)
        return calling.call(self.head, x, train)


class Stitch(nn.Module):
    """Mixtures of columns, with weights α that are learned.

    Attributes:
        first: α at first, `[T, T]` or `[T]` for one mixture.
        per_channel: α has a last axis for the channels.

    Example:
        >>> stitch = Stitch(((0.9, 0.1), (0.1, 0.9)))
        >>> out, _ = stitch.init_with_output(jax.random.key(0), jnp.eye(2))
        >>> print(out)
        [[0.9 0.1]
         [0.1 0.9]]
    """

    first: Any
    per_channel: bool = False

    @nn.compact
    def __call__(self, x: PyTree) -> PyTree:
        """Leaves `[T, B, ...]` to `[T, B, ...]`, or to `[B, ...]`."""
        if not self.per_channel:
            return stitched(self._alpha("alpha", ()), x)
        named = dict(x) if isinstance(x, Mapping) else {"": x}
        found = {name: self._by_channel(name, leaf) for name, leaf in named.items()}
        return found if isinstance(x, Mapping) else found[""]

    def _by_channel(self, name: str, x: Array) -> Array:
        if not jnp.issubdtype(x.dtype, jnp.floating):
            return stitched(jnp.asarray(self.first), x)
        alpha = self._alpha(f"alpha_{name}".rstrip("_"), x.shape[-1:])
        each = jax.vmap(stitched, in_axes=-1, out_axes=-1)
        return each(alpha, x)

    def _alpha(self, name: str, channels: tuple[int, ...]) -> Array:
        first = np.asarray(self.first, np.float32)
        begin = np.broadcast_to(
            first.reshape(*first.shape, *(1,) * len(channels)),
            (*first.shape, *channels),
        )
        return self.param(name, lambda _: jnp.asarray(begin))
