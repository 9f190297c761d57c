"""Sluice networks: what is shared between subspaces and layers of a network a task."""

from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from mtl_jax.models import calling
from mtl_jax.models.columns import (
    entries,
    examples_first,
    own_and_others,
    side_by_side,
)
from mtl_jax.models.cross_stitch import Stitch
from mtl_jax.models.hard_sharing import HardSharing
from mtl_jax.models.penalised import Penalised
from mtl_jax.models.stages import stages
from mtl_jax.typing import Array, PyTree


def Sluice(
    trunk: Any,
    heads: Mapping[str, nn.Module],
    num_subspaces: int = 2,
    own: float = 0.9,
    mixture: bool = True,
    orthogonality: float = 0.01,
) -> HardSharing:
    """Sluice networks: columns whose subspaces are mixed, and mixtures of layers.

    Each task m has a copy of the trunk, its column. What stage k of it gives is cut, at
    the last axis, into G subspaces `h_{m,g}`; units α mix all of all tasks,

        h̃_{m,g} = Σ_{j,i} α^k_{(m,g),(j,i)} h_{j,i}

    and the next stage reads `h̃_m`, the subspaces beside one another again. The head of
    task m reads a mixture of all layers of its column, `Σ_k β_{m,k} h̃_m^k`. With one
    subspace and no such mixture it is the cross-stitch network.

    In training, the loss of task m has `orthogonality` times

        Σ_k Σ_{g<i} ||G_{k,g}ᵀ G_{k,i}||²

    added (`Penalised`), the Frobenius norms of the subspaces of its column. As in the
    authors' code, `G_{k,g}` are weights: the units g of each kernel `[..., D]` in stage
    k whose D is a multiple of G. That code begins with another pattern of α; here each
    subspace begins with the weight `own` at itself and equal ones at the others, and β
    with 0.9 at the last layer, as there.

    Shared are the columns and all α but the last; a task's own are its rows of the last
    α, its β and its head. The representation is what the last stages give, with the
    mixed subspaces of the layers before them and the columns' penalties.

    Args:
        trunk: module or sequence of modules; see `models.stages`.
        heads: task name to module that reads what the trunk gives; their order is that
            of the columns.
        num_subspaces: G.
        own: weight of a subspace at itself at first.
        mixture: whether heads read mixtures of the layers: of those whose outputs have
            the shape of the last one's; where the trunk gives a dict, entry by entry.
            `False`: of the last layer alone.
        orthogonality: weight of the penalty; the paper tunes it.

    Returns:
        A `HardSharing` of the `SluiceColumns` with a `SluiceHead` a task. Each head
        reads another column, so that heads are not stacked.

    Raises:
        ValueError: numbers out of range; when called: widths that are no multiple of G,
            no layer of the shape of the last one, or no kernel to be cut.

    Example:
        >>> from mtl_jax.models import MLP
        >>> net = Sluice(MLP((8, 8)), {"a": nn.Dense(1), "b": nn.Dense(3)})
        >>> x = jnp.ones((2, 5))
        >>> outputs, _ = jax.eval_shape(net.init_with_output, jax.random.key(0), x)
        >>> {name: out.shape for name, out in outputs.items()}
        {'a': (2, 1), 'b': (2, 3)}

    References:
        Ruder, Bingel, Augenstein and Søgaard, Latent Multi-task Architecture Learning,
        AAAI 2019.
    """
    if num_subspaces < 1 or orthogonality < 0:
        raise ValueError(
            "Sluice has num_subspaces of 1 or more and an orthogonality of 0 or more; "
            f"found num_subspaces={num_subspaces} and orthogonality={orthogonality}"
        )
    count = len(heads) * num_subspaces
    first = tuple(tuple(map(float, row)) for row in own_and_others(own, count))
    columns = SluiceColumns(
        stages(trunk), first, num_subspaces, mixture, orthogonality > 0
    )
    return HardSharing(
        columns,
        {
            task: SluiceHead(head, place, first, num_subspaces, orthogonality)
            for place, (task, head) in enumerate(heads.items())
        },
    )


class SluiceColumns(nn.Module):
    """Columns whose subspaces are mixed after every stage but the last.

    Attributes:
        stages: of which every column has a copy.
        first: α at first, a row a subspace of each column.
        num_subspaces: of a column.
        mixture: whether heads read the layers before the last one.
        penalty: whether the subspaces' weights are compared.
    """

    stages: Sequence[nn.Module]
    first: Sequence[Sequence[float]]
    num_subspaces: int
    mixture: bool
    penalty: bool

    @nn.compact
    def __call__(self, inputs: PyTree, train: bool = False) -> dict[str, Any]:
        """What the heads read.

        Under "columns" what the last stages give, leaves `[B, T, ...]`; under "before"
        the mixed subspaces of each stage before it, `{"stage01": {entry: …}}`, where
        the entry is "" for a trunk that gives arrays; under "penalty" `[B, T]`.
        """
        x, count = inputs, len(self.first) // self.num_subspaces
        read: dict[str, dict[str, Array]] = {}
        for place, stage in enumerate(self.stages):
            if place:
                parts = cut(x, self.num_subspaces, place)
                x = joined(Stitch(self.first, name=f"stitch{place}")(parts), count)
                read[f"stage{place:02}"] = entries(x)
            x = side_by_side(stage, count, x, train, common=not place)
        columns = examples_first(x)
        found: dict[str, Any] = {"columns": columns}
        if self.mixture and read:
            found["before"] = examples_first(_alike(read, entries(x)))
        if self.penalty and self.num_subspaces > 1:
            penalties = overlaps(self.variables["params"], count, self.num_subspaces)
            examples = jax.tree.leaves(columns)[0].shape[0]
            found["penalty"] = jnp.broadcast_to(penalties, (examples, count))
        return found


class SluiceHead(nn.Module):
    """The last subspaces of a task, its mixture of layers, and its head.

    Attributes:
        head: module that reads what the trunk gives.
        place: of the task's column.
        first: α at first, a row a subspace of each column.
        num_subspaces: of a column.
        orthogonality: weight of the penalty.
    """

    head: nn.Module
    place: int
    first: Sequence[Sequence[float]]
    num_subspaces: int
    orthogonality: float

    @nn.compact
    def __call__(self, z: Mapping[str, Any], train: bool = False) -> Any:
        """Outputs of what `SluiceColumns` gives, in training with the penalty."""
        begin = self.place * self.num_subspaces
        rows = self.first[begin : begin + self.num_subspaces]
        parts = cut(examples_first(z["columns"]), self.num_subspaces, 0)
        last = joined(Stitch(rows, name="stitch")(parts), 1)
        x = jax.tree.map(lambda leaf: leaf[0], last)
        if "before" in z:
            x = self._mixed(z["before"], x)
        outputs = calling.call(self.head, x, train)
        if not train or "penalty" not in z:
            return outputs
        return Penalised(outputs, self.orthogonality * z["penalty"][:, self.place])

    def _mixed(self, before: Mapping[str, Mapping[str, Array]], x: PyTree) -> PyTree:
        """`Σ_k β_k h̃^k` of every entry that several layers have."""
        count = len(before) + 1
        begin = own_and_others(0.9, count)[-1]
        beta = self.param("beta", lambda _: jnp.asarray(begin))
        found = entries(x)
        for name, last in found.items():
            layers = [
                (weight, layer[name][:, self.place])
                for weight, layer in zip(beta, before.values(), strict=False)
                if name in layer
            ]
            if layers:
                found[name] = sum((w * h for w, h in layers), beta[-1] * last)
        return {**x, **found} if isinstance(x, Mapping) else found[""]


def cut(x: PyTree, parts: int, place: int) -> PyTree:
    """The subspaces of columns, `[T, ..., D]` to `[T · parts, ..., D / parts]`.

    Args:
        x: leaves `[T, ..., D]`; those of no floating numbers are repeated.
        parts: of each column.
        place: number of the stage that gave them, for the error; 0 for the last.

    Raises:
        ValueError: a width that is no multiple of `parts`.

    Example:
        >>> print(cut(jnp.arange(4.0)[None], 2, 1))
        [[0. 1.]
         [2. 3.]]
    """

    def one(leaf: Array) -> Array:
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            return jnp.repeat(leaf, parts, axis=0)
        if leaf.shape[-1] % parts:
            stage = f"stage {place}" if place else "the last stage"
            raise ValueError(
                f"Sluice cuts what a stage gives into num_subspaces={parts}; {stage} "
                f"of the trunk gives a width of {leaf.shape[-1]}. Give widths that are "
                "multiples of it, or another number of subspaces"
            )
        cut = leaf.reshape(*leaf.shape[:-1], parts, leaf.shape[-1] // parts)
        cut = jnp.moveaxis(cut, -2, 1)
        return cut.reshape(-1, *cut.shape[2:])

    return jax.tree.map(one, x)


def joined(x: PyTree, count: int) -> PyTree:
    """The inverse of `cut`, of so many columns."""

    def one(leaf: Array) -> Array:
        leaf = leaf.reshape(count, -1, *leaf.shape[1:])
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            return leaf[:, 0]
        leaf = jnp.moveaxis(leaf, 1, -2)
        return leaf.reshape(*leaf.shape[:-2], -1)

    return jax.tree.map(one, x)


def overlaps(params: PyTree, count: int, parts: int) -> Array:
    """How far the subspaces of columns are from orthogonal, `[count]`.

    Args:
        params: with kernels `[count, ..., D]`.
        count: of columns.
        parts: subspaces of each.

    Raises:
        ValueError: no kernel can be cut.

    Example:
        >>> kernel = jnp.array([[[1.0, 2.0], [3.0, 0.0]]])
        >>> print(overlaps({"kernel": kernel}, 1, 2))
        [4.]
    """
    kernels = [
        jnp.asarray(leaf, jnp.promote_types(leaf.dtype, jnp.float32))
        for path, leaf in jax.tree_util.tree_leaves_with_path(params)
        if getattr(path[-1], "key", None) == "kernel" and leaf.shape[-1] % parts == 0
    ]
    if not kernels:
        raise ValueError(
            f"the trunk of Sluice has no kernel of a width that num_subspaces={parts} "
            "divides, and so no subspaces to keep apart. Give orthogonality=0, or "
            "another number of subspaces"
        )
    total = jnp.zeros(count)
    for kernel in kernels:
        spaces = kernel.reshape(count, -1, parts, kernel.shape[-1] // parts)
        products = jnp.einsum("tfga,tfib->tgiab", spaces, spaces) ** 2
        norms = jnp.sum(products, axis=(3, 4))
        total += jnp.sum(jnp.triu(norms, 1), axis=(1, 2))
    return total


def _alike(
    read: Mapping[str, Mapping[str, Array]], last: Mapping[str, Array]
) -> dict[str, dict[str, Array]]:
    """Of each layer what has the shape of the last one's; layers without are left out.

    Raises:
        ValueError: no layer has any.
    """
    found = {
        stage: {n: a for n, a in x.items() if n in last and a.shape == last[n].shape}
        for stage, x in read.items()
    }
    found = {stage: x for stage, x in found.items() if x}
    if not found:
        shapes = [
            {n or "array": list(a.shape[2:]) for n, a in x.items()}
            for x in (*read.values(), last)
        ]
        raise ValueError(
            "Sluice mixes the layers whose outputs have the shape of the last one's; "
            f"the stages of the trunk give {shapes} an example. Give them one width, "
            "or mixture=False"
        )
    return found
