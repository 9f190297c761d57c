"""Multi-task attention: every task masks the features of a shared network."""

from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from mtl_jax.models import calling
from mtl_jax.models.columns import entries
from mtl_jax.models.hard_sharing import HardSharing
from mtl_jax.models.stages import stages
from mtl_jax.typing import Array, PyTree


def MTAN(
    trunk: Any, heads: Mapping[str, nn.Module], batch_norm: bool = True
) -> HardSharing:
    """Multi-task attention network (MTAN).

    Of the features `p_j` of stage j, task k takes what its attention module lets
    through (equations 1 and 2),

        â_j = a_j ⊙ p_j,    a_j = h_j(g_j([p_j; f_j(â_{j-1})])) ∈ (0, 1)

    and its head reads `â` of the last stage. `g` and `h` are 1x1 convolutions, with
    batch normalisation, a rectifier after `g` and a sigmoid after `h`; `f` brings the
    features of the stage before to the channels and the size of this one: a convolution
    likewise and maxima over the places that fall together. In the first stage there is
    no `â_{j-1}`.

    Any trunk in stages does: a 1x1 convolution is a dense layer on the last axis, of
    images, words and vectors alike. Two things differ from the paper, which has
    encoders of images: `g` reads what a stage gives, where the paper's reads its first
    layer and only the mask is put on its last; and `f` is a 1x1 convolution, there one
    of 3x3.

    The trunk is shared; attention modules and heads are the tasks' own, and stacked
    where heads are alike. The representation is the features of all stages.

    Args:
        trunk: module or sequence of modules; see `models.stages`.
        heads: task name to module that reads what the trunk gives.
        batch_norm: normalise in the attention modules, as the paper does.

    Returns:
        A `HardSharing` of the `Features` with an `AttentiveHead` a task.

    Raises:
        ValueError: a trunk that is none; when called: a stage with more axes than the
            one before it.

    Example:
        >>> import jax
        >>> from mtl_jax.models import CNN
        >>> net = MTAN(CNN((4, 8), (16,)), {"a": nn.Dense(1), "b": nn.Dense(3)})
        >>> images = jnp.ones((2, 8, 8, 1))
        >>> outputs, _ = jax.eval_shape(net.init_with_output, jax.random.key(0), images)
        >>> {name: out.shape for name, out in outputs.items()}
        {'a': (2, 1), 'b': (2, 3)}

    References:
        Liu, Johns and Davison, End-to-End Multi-Task Learning with Attention, CVPR
        2019.
    """
    return HardSharing(
        Features(stages(trunk)),
        {task: AttentiveHead(head, batch_norm) for task, head in heads.items()},
    )


class Features(nn.Module):
    """A trunk that gives what each of its stages gives.

    Attributes:
        stages: of the trunk.
    """

    stages: Sequence[nn.Module]

    @nn.compact
    def __call__(self, inputs: PyTree, train: bool = False) -> dict[str, Any]:
        """`{"stage01": {entry: [B, ...]}}`, "" the entry of a stage that gives arrays.

        Entries are those with floating numbers.
        """
        x, found = inputs, {}
        for place, stage in enumerate(self.stages, start=1):
            x = calling.call(stage, x, train)
            found[f"stage{place:02}"] = entries(x)
        return found


class AttentiveHead(nn.Module):
    """The attention modules of a task, and its head.

    Attributes:
        head: module that reads what the trunk gives.
        batch_norm: normalise in the attention modules.
    """

    head: nn.Module
    batch_norm: bool = True

    @nn.compact
    def __call__(self, z: Mapping[str, Any], train: bool = False) -> Any:
        """Outputs of the features of all stages."""
        attended: dict[str, Array] = {}
        for stage in sorted(z):
            attended = {
                name: self._attended(f"{stage}{name}", p, attended.get(name), train)
                for name, p in z[stage].items()
            }
        x = attended[""] if list(attended) == [""] else attended
        return calling.call(self.head, x, train)

    def _attended(
        self, name: str, p: Array, before: Array | None, train: bool
    ) -> Array:
        """`â_j`, from `p_j` and `â_{j-1}`."""
        width = p.shape[-1]
        read = p
        if before is not None:
            merged = nn.relu(self._layer(f"{name}_f", before, width, train))
            merged = resized(merged, p.shape[1:-1])
            read = jnp.concatenate([p, merged], axis=-1)
        hidden = nn.relu(self._layer(f"{name}_g", read, width, train))
        return nn.sigmoid(self._layer(f"{name}_h", hidden, width, train)) * p

    def _layer(self, name: str, x: Array, width: int, train: bool) -> Array:
        x = nn.Dense(width, use_bias=not self.batch_norm, name=name)(x)
        if not self.batch_norm:
            return x
        norm = nn.BatchNorm(not train, momentum=0.9, name=f"{name}_norm")
        return norm(x)


def resized(x: Array, size: Sequence[int]) -> Array:
    """Maxima over the places that fall together where an array is made smaller.

    Place i of n is the maximum over `⌊i m / n⌋ ≤ j < ⌈(i + 1) m / n⌉` of m, so that a
    larger n repeats places.

    Args:
        x: `[B, *places, D]`.
        size: of the places; `()` for the maximum over all.

    Raises:
        ValueError: another number of axes.

    Example:
        >>> x = jnp.array([[3.0, 1.0, 2.0, 5.0]])[..., None]
        >>> resized(x, (2,))[..., 0].tolist(), resized(x, ()).tolist()
        ([[3.0, 5.0]], [[5.0]])
    """
    if not size:
        return jnp.max(x, axis=tuple(range(1, x.ndim - 1)), initial=-jnp.inf)
    if len(size) != x.ndim - 2:
        raise ValueError(
            "MTAN merges the features of a stage with those of the stage before it, of "
            f"as many axes, or of one place; a stage gives {tuple(x.shape[1:-1])} "
            f"places and the next one {tuple(size)}. Give stages that keep the axes, "
            "or lose all of them"
        )
    for axis, (old, new) in enumerate(zip(x.shape[1:-1], size, strict=True), start=1):
        if old != new:
            begin = np.arange(new) * old // new
            end = -(-(np.arange(new) + 1) * old // new)
            places = begin[:, None] + np.arange((end - begin).max())
            places = np.minimum(places, end[:, None] - 1)
            x = jnp.take(x, places, axis=axis).max(axis + 1)
    return x
