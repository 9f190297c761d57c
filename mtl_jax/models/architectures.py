"""What tasks share: every architecture by name."""

from collections.abc import Callable

import flax.linen as nn

from mtl_jax.models.aitm import AITM
from mtl_jax.models.cross_stitch import CrossStitch
from mtl_jax.models.domain_adversarial import DomainAdversarial
from mtl_jax.models.dselect_k import DSelectK
from mtl_jax.models.esmm import ESMM
from mtl_jax.models.film import FiLM
from mtl_jax.models.hard_sharing import HardSharing
from mtl_jax.models.late_fusion import LateFusion
from mtl_jax.models.learning_to_branch import LearningToBranch
from mtl_jax.models.mmoe import MMoE
from mtl_jax.models.mtan import MTAN
from mtl_jax.models.ple import CGC, PLE
from mtl_jax.models.shared_private import SharedPrivate
from mtl_jax.models.sluice import Sluice
from mtl_jax.models.soft_sharing import SoftSharing
from mtl_jax.models.sub_network import SubNetworkRouting
from mtl_jax.models.task_attention import TaskAttention

ARCHITECTURES: dict[str, Callable[..., nn.Module]] = {
    "adversarial": SharedPrivate,
    "aitm": AITM,
    "cgc": CGC,
    "cross_stitch": CrossStitch,
    "domain_adversarial": DomainAdversarial,
    "dselect_k": DSelectK,
    "esmm": ESMM,
    "film": FiLM,
    "hard_sharing": HardSharing,
    "late_fusion": LateFusion,
    "learning_to_branch": LearningToBranch,
    "mmoe": MMoE,
    "mtan": MTAN,
    "ple": PLE,
    "soft_sharing": SoftSharing,
    "task_attention": TaskAttention,
    "sluice": Sluice,
    "sub_network": SubNetworkRouting,
}
"""Every architecture by name: a factory whose first arguments are the trunk and a
mapping of the tasks, in their order, to heads."""

OF_VECTORS = ("aitm", "cgc", "dselect_k", "esmm", "mmoe", "ple", "sub_network")
"""Those that read one vector an example of the trunk, or of the inputs."""

BY_POSITION = (
    *("adversarial", "cross_stitch", "late_fusion", "learning_to_branch", "ple"),
    *("sluice", "soft_sharing", "task_attention"),
)
"""Those with arrays of which each task has a row, or a column, by its place in the
list of tasks."""
