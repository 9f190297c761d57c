"""One trunk of several: inputs of different kinds, fused, and any of them missing."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from mtl_jax.errors import unknown_name
from mtl_jax.models import calling
from mtl_jax.models.summary import summary
from mtl_jax.models.trunks import inputs as accepted
from mtl_jax.models.trunks.in_turn import Layers, Stage, in_turn
from mtl_jax.typing import Array, PyTree

FUSIONS = ("concatenation", "weighted_sum", "gate")


class CrossModal(nn.Module):
    """A trunk a modality, and one vector an example made of what they give.

    Modality m, with the input `x_m` and a trunk `f_m` of its own, has the vector
    `u_m = W_m f_m(x_m) + b_m`. With the set P of the modalities that are present in an
    example, and a softmax over these alone,

        concatenation:  z = [ũ_1, …, ũ_M],     ũ_m = u_m for m ∈ P, else v_m
        weighted_sum:   z = Σ_{m∈P} a_m u_m,   a = softmax(w)
        gate:           z = Σ_{m∈P} a_m ⊙ tanh(u_m),
                        a = softmax_m(G [f̃_1, …, f̃_M] + g),  f̃_m = f_m for m ∈ P, else 0

    where the vectors `v_m` and the logits w are learned, and the gate chooses for each
    example and feature. Dense layers may follow. It is a trunk like any other: all of
    it is shared by all tasks, below any architecture.

    Which modalities an example has is said by a further input, `NAME_present`, bool
    `[B]`; without one, all examples have the modality. What an input holds where it is
    missing (any finite numbers in a data set) is not looked at: it is 0 before it gets
    to the trunk, so that batch statistics do not depend on it either. An example with
    nothing at all has `z = 0` (with concatenation, `[v_1, …, v_M]`).

    With `modality_dropout`, each modality of each example is hidden with that
    probability in training, independently, so that the model learns to do with what is
    there (ModDrop). Where that would leave nothing, nothing is hidden, which is ours,
    and the paper's fusion layer, initialised block by block, is not here. The gate is
    that of the GMU, except that its weights are a softmax: with two modalities that is
    the paper's σ, and with three or more, or where some are missing, the weights have
    the sum 1.

    Attributes:
        trunks: modality to module, in any order; each gives `[B, ..., D_m]`, of which
            the mean over positions counts, or parts of a text with one called "pooled".
        reads: modality to the name of the input that its trunk reads as an array, or,
            for a trunk that reads a mapping, to a mapping of the names it knows to
            those of inputs: `{"smiles": {"tokens": "smiles"}}`. Default: the input
            called like the modality. Other inputs are ignored.
        fusion: "concatenation", "weighted_sum" or "gate".
        width: of the vectors `u_m`.
        features: widths of the dense layers after the fusion.
        modality_dropout: probability with which a modality is hidden, in training.
        activation: nonlinearity after each of `features`.
        dtype: of projections, gate and `features`; parameters are float32.

    Raises:
        ValueError: another fusion, no modality or one that there is not, a number out
            of range; when called: an input that is missing from the mapping, or who is
            present in another shape than `[B]`.

    Example:
        >>> from mtl_jax.models import MLP, BagOfEmbeddings
        >>> text = BagOfEmbeddings(vocabulary=9, width=4)
        >>> net = CrossModal(
        ...     {"image": MLP((8,)), "caption": text},
        ...     reads={"caption": {"tokens": "words"}},
        ...     width=6,
        ... )
        >>> inputs = {
        ...     "image": jnp.ones((2, 5, 5)),
        ...     "words": jnp.array([[2, 3], [4, 0]]),
        ...     "caption_present": jnp.array([True, False]),
        ... }
        >>> net.init_with_output(jax.random.key(0), inputs)[0].shape
        (2, 6)

    References:
        Arevalo et al., Gated Multimodal Units for Information Fusion, ICLR 2017
        workshop.
        Neverova et al., ModDrop: Adaptive Multi-modal Gesture Recognition, TPAMI 2016.
    """

    trunks: Mapping[str, nn.Module]
    reads: Mapping[str, Any] | None = None
    fusion: Literal["concatenation", "weighted_sum", "gate"] = "gate"
    width: int = 64
    features: Sequence[int] = ()
    modality_dropout: float = 0.0
    activation: Callable[[Array], Array] = nn.relu
    dtype: Any = None

    @nn.compact
    def __call__(self, inputs: PyTree, train: bool = False) -> Array:
        """`{input: [B, ...]} -> [B, D]`."""
        result: Array = in_turn(self, self._layers(), inputs, train)
        return result

    def in_stages(self) -> tuple[nn.Module, ...]:
        """The modalities with their fusion, then one a layer; see `models.stages`."""
        return tuple(Stage((layer,), parent=None) for layer in self._layers())

    def _layers(self) -> tuple[Layers, ...]:
        dense = [
            functools.partial(_connected, self, i, width)
            for i, width in enumerate(self.features)
        ]
        return (functools.partial(_fused, self), *dense)


def _connected(
    net: CrossModal, i: int, width: int, _: nn.Module, x: Array, train: bool
) -> Array:
    del train
    return net.activation(nn.Dense(width, dtype=net.dtype, name=f"joint_{i}")(x))


def _fused(net: CrossModal, module: nn.Module, inputs: PyTree, train: bool) -> Array:
    _check(net, inputs)
    present = jnp.stack([_present(inputs, name) for name in sorted(net.trunks)], axis=1)
    if train and net.modality_dropout > 0:
        key = module.make_rng("dropout")
        present = some_hidden(key, present, net.modality_dropout)
    read, vectors = [], []
    for i, (name, trunk) in enumerate(sorted(net.trunks.items())):
        here = present[:, i]
        x = jax.tree.map(functools.partial(_where, here), _taken(net, inputs, name))
        own = trunk.clone(parent=module, name=f"modality_{name}", _deep_clone=True)
        z = summary(calling.call(own, x, train), "CrossModal")
        read.append(_where(here, z))
        project = nn.Dense(net.width, dtype=net.dtype, name=f"projection_{name}")
        vectors.append(project(z))
    return _FUSE[net.fusion](net, module, read, vectors, present)


def _concatenation(
    net: CrossModal,
    module: nn.Module,
    read: list[Array],
    vectors: list[Array],
    present: Array,
) -> Array:
    del read
    parts = []
    for i, (name, u) in enumerate(zip(sorted(net.trunks), vectors, strict=True)):
        instead = module.param(
            f"missing_{name}", nn.initializers.normal(0.1), (net.width,), jnp.float32
        )
        parts.append(jnp.where(present[:, i, None], u, instead.astype(u.dtype)))
    return jnp.concatenate(parts, axis=-1)


def _weighted_sum(
    net: CrossModal,
    module: nn.Module,
    read: list[Array],
    vectors: list[Array],
    present: Array,
) -> Array:
    del net, read
    logits = module.param("weights", nn.initializers.zeros, (len(vectors),))
    weights = softmax_of_present(
        jnp.broadcast_to(logits, present.shape)[..., None], present
    )
    u = jnp.stack(vectors, axis=1)
    return jnp.sum(weights.astype(u.dtype) * u, axis=1)


def _gate(
    net: CrossModal,
    module: nn.Module,
    read: list[Array],
    vectors: list[Array],
    present: Array,
) -> Array:
    del module
    u = jnp.tanh(jnp.stack(vectors, axis=1))
    logits = nn.Dense(u.shape[1] * net.width, dtype=net.dtype, name="gate")(
        jnp.concatenate(read, axis=-1)
    )
    weights = softmax_of_present(logits.reshape(u.shape), present)
    return jnp.sum(weights * u, axis=1)


_FUSE: dict[str, Callable[..., Array]] = {
    "concatenation": _concatenation,
    "weighted_sum": _weighted_sum,
    "gate": _gate,
}


def softmax_of_present(logits: Array, present: Array) -> Array:
    """A softmax over the modalities that an example has; 0 for the others.

    Args:
        logits: `[B, M, D]`.
        present: bool `[B, M]`.

    Returns:
        `[B, M, D]`; all 0 for an example without any.

    Example:
        >>> here = jnp.array([[True, True], [False, True], [False, False]])
        >>> softmax_of_present(jnp.zeros((3, 2, 1)), here)[..., 0].tolist()
        [[0.5, 0.5], [0.0, 1.0], [0.0, 0.0]]
    """
    here = present[..., None]
    lowest = jnp.finfo(logits.dtype).min
    return jnp.where(here, nn.softmax(jnp.where(here, logits, lowest), axis=1), 0)


def some_hidden(key: Array, present: Array, rate: float) -> Array:
    """Who is present in training: each is hidden with a probability, but never all.

    Args:
        key: PRNG key.
        present: bool `[B, M]`.
        rate: the probability.

    Returns:
        bool `[B, M]`; an example that would be left with nothing keeps what it has.

    Example:
        >>> found = some_hidden(jax.random.key(0), jnp.ones((4, 2), bool), 0.5)
        >>> found.any(axis=1).tolist()
        [True, True, True, True]
    """
    kept = present & ~jax.random.bernoulli(key, rate, present.shape)
    return jnp.where(jnp.any(kept, axis=1, keepdims=True), kept, present)


def _where(here: Array, x: Array) -> Array:
    return jnp.where(here.reshape(-1, *(1,) * (jnp.ndim(x) - 1)), x, 0)


def _present(inputs: Mapping[str, Array], name: str) -> Array:
    first = next(iter(inputs.values()))
    batch = jnp.shape(first)[:1]
    found = inputs.get(f"{name}_present")
    if found is None:
        return jnp.ones(batch, bool)
    if jnp.shape(found) != batch:
        raise ValueError(
            f"CrossModal reads '{name}_present' as one bool an example, {list(batch)}; "
            f"found {accepted.found(inputs)}"
        )
    return jnp.asarray(found).astype(bool)


def _names(net: CrossModal, name: str) -> Any:
    """The input of a modality, or several by the name that its trunk knows."""
    return (net.reads or {}).get(name, name)


def _taken(net: CrossModal, inputs: Mapping[str, Array], name: str) -> PyTree:
    wanted = _names(net, name)
    if isinstance(wanted, Mapping):
        return {known: inputs[given] for known, given in wanted.items()}
    return inputs[wanted]


def _check(net: CrossModal, inputs: PyTree) -> None:
    if net.fusion not in FUSIONS:
        raise unknown_name("fusion of CrossModal", net.fusion, FUSIONS)
    if not net.trunks:
        raise ValueError("CrossModal was given no trunks; give one a modality, by name")
    if net.width < 1 or not 0 <= net.modality_dropout < 1:
        raise ValueError(
            f"CrossModal was given width={net.width} and "
            f"modality_dropout={net.modality_dropout}; a width is 1 or more, and a "
            "probability of hiding in [0, 1)"
        )
    for name in net.reads or {}:
        if name not in net.trunks:
            raise unknown_name("modality in reads of CrossModal", name, net.trunks)
    for name in net.trunks:
        wanted = _names(net, name)
        asked = list(wanted.values()) if isinstance(wanted, Mapping) else [wanted]
        for one in asked:
            if not isinstance(inputs, Mapping) or one not in inputs:
                raise ValueError(
                    f"CrossModal reads the input {one!r} for the modality {name!r}; "
                    f"found {accepted.found(inputs)}. Give it, or name another one in "
                    f"reads. Where an example lacks it, give zeros, and "
                    f"'{name}_present' as False"
                )
