"""Settings: typed, strict, from Python files and `key=value` texts."""

from mtl_jax.config.files import load as load
from mtl_jax.config.parse import from_plain as from_plain
from mtl_jax.config.parse import override as override
from mtl_jax.config.schema import Config as Config
from mtl_jax.config.schema import DataConfig as DataConfig
from mtl_jax.config.schema import DistilConfig as DistilConfig
from mtl_jax.config.schema import MethodConfig as MethodConfig
from mtl_jax.config.schema import ModelConfig as ModelConfig
from mtl_jax.config.schema import OptimizerConfig as OptimizerConfig
from mtl_jax.config.schema import PartConfig as PartConfig
from mtl_jax.config.schema import TaskConfig as TaskConfig
from mtl_jax.config.schema import TrainConfig as TrainConfig
from mtl_jax.config.schema import TransferConfig as TransferConfig
from mtl_jax.config.schema import layer_parts as layer_parts
