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
    """A data set of ours, a TFDS name on disk, or a directory prepared by TFDS."""
    data_dir: str | None = None
    """Where prepared data sets are; default: TFDS's own."""
    input: str = "image"
    """The feature that the model reads."""
    validation_fraction: float = 0.0
    """Share of the training split that is held out where there is no validation."""


@dataclass(frozen=True)
class TaskConfig:
    """One task; see `mtl_jax.Task`."""

    name: str
    kind: Literal["classification", "binary", "regression"]
    label: str | None = None
    """The feature that holds the labels; default: the name of the task."""
    above: float | None = None
    """Make a binary label of a number: whether it is greater than this."""
    num_outputs: int | None = _least(1, None)
    """Classes of a classification, values of a regression (default 1)."""
    weight: float = 1.0
    main: bool = False
    loss: str | None = None
    """Default: the usual one of the kind."""
    loss_args: dict[str, Any] = field(default_factory=dict)
    metrics: tuple[str, ...] | None = None
    """Default: the usual ones of the kind."""


@dataclass(frozen=True)
class ModelConfig:
    """Hard sharing: a trunk and a head a task."""

    trunk: str = "mlp"
    trunk_args: dict[str, Any] = field(default_factory=dict)
    head_features: tuple[int, ...] = ()
    """Hidden layers of each head."""


@dataclass(frozen=True)
class MethodConfig:
    """The weighting method."""

    name: str = "equal"
    args: dict[str, Any] = field(default_factory=dict)
    at: Literal["parameters", "representation"] = "parameters"
    wrap: tuple[Any, ...] = ()
    """Functions of the algebra of methods, from the inside out: names, or mappings of
    "name" and hyper-parameters, e.g. `["matched_scale", {"name": "every_k", "k": 5}]`.
    """


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


@dataclass(frozen=True)
class TrainConfig:
    """The loop; see `mtl_jax.fit`."""

    epochs: int = _least(1, 10)
    batch_size: int = _least(1, 64)
    parallel: Literal["auto", "jit", "pmap"] = "auto"
    best: str | None = None
    keep_last: int = _least(1, 2)
    checkpoint_every: int | None = _least(1, None)
    log_every: int = _least(1, 50)
    max_skipped: int = _least(1, 20)


@dataclass(frozen=True)
class Config:
    """A whole run."""

    name: str
    data: DataConfig
    tasks: tuple[TaskConfig, ...]
    model: ModelConfig = field(default_factory=ModelConfig)
    method: MethodConfig = field(default_factory=MethodConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    seed: int = _least(0, 0)
