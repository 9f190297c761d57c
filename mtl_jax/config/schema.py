"""Every setting of a run and its default, in one place."""

from dataclasses import dataclass, field
from typing import Any, Literal


def _least(bound: int, default: int | None) -> Any:
    """A number that is `bound` at least."""
    return field(default=default, metadata={"least": bound})


@dataclass(frozen=True)
class DataConfig:
    """Where the examples come from."""

    name: str
    """A data set of ours, a recipe (`mtl_jax.data.RECIPES`), a TFDS name on disk, or a
    directory prepared by TFDS."""
    args: dict[str, Any] = field(default_factory=dict)
    """Of the recipe."""
    path: str | None = None
    """The user's own file, for the recipes that read one."""
    targets: tuple[str, ...] = ()
    """Columns of that file that are predicted."""
    data_dir: str | None = None
    """Where prepared data sets are; default: TFDS's own."""
    input: str = "image"
    """The feature that the model reads."""
    missing: tuple[str, ...] = ()
    """Modalities of the trunk `cross_modal` that all examples are to lack, mostly in
    `mtl-jax evaluate`."""
    validation_fraction: float = 0.0
    """Share of the training split that is held out where there is no validation."""
    temperature: float = 1.0
    """Of the policy "sampled", where every task has its own examples."""
    train_examples: int | None = _least(1, None)
    """Train on so many examples alone; the same ones whatever the seed of the run."""
    labelled: dict[str, int] = field(default_factory=dict)
    """Hide the labels of these tasks (or labels) in training, but those of so many
    examples; which, follows from the seed."""
    labelled_half: bool = False
    """One half of every batch has examples with such labels, the other one others."""
    balance: str | None = None
    """A label whose classes are drawn equally often in training."""
    balance_shares: tuple[float, ...] = ()
    """How often each of these classes is drawn instead, in proportion."""
    augment: tuple[Any, ...] = ()
    """What is done to the inputs of training, on the device: names of
    `mtl_jax.models.AUGMENTATIONS`, or mappings of "name" and arguments, e.g.
    `["flip", {"name": "shift", "pixels": 2}]`."""
    feed: Literal["auto", "device", "host"] = "auto"
    """Where batches are made: on the devices, on which the training set lies then, or
    on the host, which sends them ahead."""
    feed_limit: int = _least(0, 2**30)
    """Bytes of the largest training set that "auto" puts on each device."""


@dataclass(frozen=True)
class TaskConfig:
    """One task; see `mtl_jax.Task`."""

    name: str
    kind: Literal[
        "classification",
        "binary",
        "multi_label",
        "regression",
        "count",
        "ordinal",
        "tokens",
        "segmentation",
        "depth",
        "normals",
        "autoencoding",
        "denoising",
        "masked",
        "masked_tokens",
        "rotation",
        "contrastive",
    ]
    """The last six need no labels, see `mtl_jax.tasks.PRETEXTS`."""
    label: str | None = None
    """The feature that holds the labels; default: the name of the task."""
    above: float | None = None
    """Make a binary label of a number: whether it is greater than this."""
    num_outputs: int | None = _least(1, None)
    """Classes of a classification, values of a regression (default 1), levels, …;
    default: what the data say."""
    weight: float = 1.0
    main: bool = False
    loss: str | None = None
    """Default: the usual one of the kind."""
    loss_args: dict[str, Any] = field(default_factory=dict)
    """Of the loss; `class_weights` may be "balanced": from the training labels."""
    metrics: tuple[str, ...] | None = None
    """Default: the usual ones of the kind."""
    head_features: tuple[int, ...] | None = None
    """Hidden layers of its head; default: those of all, and one for contrastive."""
    args: dict[str, Any] = field(default_factory=dict)
    """Of a kind that needs no labels, e.g. `{"share": 0.5}` of masked."""


@dataclass(frozen=True)
class ModelConfig:
    """A trunk, a head a task, and what of them is shared."""

    trunk: str | None = "mlp"
    """None: an architecture of vectors reads the inputs themselves."""
    trunk_args: dict[str, Any] = field(default_factory=dict)
    architecture: str = "hard_sharing"
    """One of `mtl_jax.models.ARCHITECTURES`. Where tasks are steps of a chain (esmm,
    aitm), their order is that of the chain."""
    architecture_args: dict[str, Any] = field(default_factory=dict)
    head_features: tuple[int, ...] = ()
    """Hidden layers of each head."""
    heads_per_task: int = _least(1, 1)
    """Heads of each task on one trunk, whose predictions are averaged."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Of the computation. Parameters, losses and statistics are float32 anyway."""


@dataclass(frozen=True)
class MethodConfig:
    """The weighting method."""

    name: str = "equal"
    args: dict[str, Any] = field(default_factory=dict)
    at: Literal["parameters", "representation"] = "parameters"
    gramian: Literal["auto", "materialise", "layerwise", "ghost", "jacobian_free"] = (
        "auto"
    )
    """How a Gramian is made; all ways are exact."""
    task_chunk: int | None = _least(1, None)
    """Tasks that pass backwards at once; default: by the backend."""
    wrap: tuple[Any, ...] = ()
    """Functions of the algebra of methods, from the inside out: names, or mappings of
    "name" and hyper-parameters, e.g. `["matched_scale", {"name": "every_k", "k": 5}]`.
    """


@dataclass(frozen=True)
class PartConfig:
    """Parameters that learn at a rate of their own, or later, or not at all."""

    where: str
    """A regular expression that is searched for in the names, which are such as
    `shared/trunk/Dense_0/kernel` and `specific/heads_digit/bias`."""
    rate: float = 1.0
    """Factor of the learning rate; 0: frozen."""
    from_epoch: int = _least(0, 0)
    """Frozen before this epoch; the first is 0."""


def layer_parts(
    layers: tuple[str, ...], *, every: int = 0, factor: float = 1.0
) -> tuple[PartConfig, ...]:
    """Parts for gradual unfreezing and discriminative rates, layer by layer.

    Args:
        layers: where the layers are, from the one below the heads down to the inputs.
        every: epochs after which the next layer learns too; the heads alone do in the
            first ones.
        factor: that the rate of a layer is lower by than that of the layer above it.

    Example:
        >>> for part in layer_parts(("Dense_1", "Dense_0"), every=1, factor=2.0):
        ...     print(part.where, part.rate, part.from_epoch)
        Dense_1 0.5 1
        Dense_0 0.25 2

    References:
        Howard and Ruder, Universal Language Model Fine-tuning for Text Classification,
        ACL 2018, who recommend `factor=2.6` and `every=1`.
    """
    return tuple(
        PartConfig(where, factor ** -(i + 1), every * (i + 1))
        for i, where in enumerate(layers)
    )


@dataclass(frozen=True)
class OptimizerConfig:
    """The optimizer of all parameters, by its name in optax."""

    name: str = "adam"
    learning_rate: float = 1e-3
    args: dict[str, Any] = field(default_factory=dict)
    schedule: Literal["constant", "cosine"] = "constant"
    warmup_steps: int = _least(0, 0)
    clip_norm: float | None = None
    """Largest global norm of the gradient."""
    parts: tuple[PartConfig, ...] = ()
    """Parts that learn in another way than the rest; the first that fits counts."""


@dataclass(frozen=True)
class TransferConfig:
    """A trained run that this one begins with, as far as names and shapes agree."""

    init_from: str | None = None
    """Its work dir; default: everything is initialised."""
    checkpoint: Literal["latest", "best"] = "latest"
    """Of that run."""
    rename: dict[str, str] = field(default_factory=dict)
    """The beginnings of names here, and those there: `{"shared/trunk": "shared/body"}`.
    """
    skip: tuple[str, ...] = ()
    """Regular expressions; what they are found in stays as initialised."""


@dataclass(frozen=True)
class DistilConfig:
    """What tasks learn from the outputs of a trained run, its teacher."""

    teacher: str | None = None
    """The work dir of the teacher; default: there is none."""
    checkpoint: Literal["latest", "best"] = "latest"
    """Of the teacher."""
    tasks: tuple[str, ...] = ()
    """Those that are taught; default: those that the teacher has too."""
    weight: float = 1.0
    """Of the distance to the teacher in the loss of the task."""
    temperature: float = 1.0
    """Of the softened probabilities."""
    labels: bool = True
    """Whether the labels of these tasks count too, in training."""


@dataclass(frozen=True)
class TrainConfig:
    """The loop; see `mtl_jax.fit`."""

    epochs: int = _least(1, 10)
    batch_size: int = _least(1, 64)
    parallel: Literal["auto", "jit", "pmap"] = "auto"
    accumulate: int = _least(1, 1)
    """Parts of a batch that pass through the model one after the other, for the memory
    of one; the losses, Gramian and gradients are those of the whole batch."""
    remat: str = "none"
    """What is computed again in the backward pass, to save memory: "none", "full", or a
    policy of `jax.checkpoint_policies` by name."""
    steps_per_call: int | None = _least(1, None)
    """Steps in one compiled call; default: as many as pay."""
    compilation_cache: str = "auto"
    """Where the commands keep compiled programs: "auto" (the user's cache folder),
    "off", or a directory. JAX_COMPILATION_CACHE_DIR goes first."""
    best: str | None = None
    keep_last: int = _least(1, 2)
    checkpoint_every: int | None = _least(1, None)
    log_every: int = _least(1, 50)
    max_skipped: int = _least(1, 100)


@dataclass(frozen=True)
class Config:
    """A whole run."""

    name: str
    data: DataConfig
    tasks: tuple[TaskConfig, ...] = ()
    """Default: those that the data speak of."""
    model: ModelConfig = field(default_factory=ModelConfig)
    method: MethodConfig = field(default_factory=MethodConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    transfer: TransferConfig = field(default_factory=TransferConfig)
    distil: DistilConfig = field(default_factory=DistilConfig)
    seed: int = _least(0, 0)
