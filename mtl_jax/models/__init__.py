"""Models: Linen trunks and architectures, and the contract that any model can meet."""

from mtl_jax.models.base import Model as Model
from mtl_jax.models.base import Variables as Variables
from mtl_jax.models.hard_sharing import HardSharing as HardSharing
from mtl_jax.models.linen import from_linen as from_linen
from mtl_jax.models.mixed_precision import in_dtype as in_dtype
from mtl_jax.models.trunks import MLP as MLP
