"""Tasks: a name, a loss, metrics, and what the labels must look like.

`classification` and so on make the tasks of each kind; `KINDS` has them by name.
"""

from collections.abc import Callable

from mtl_jax.tasks.dense import depth as depth
from mtl_jax.tasks.dense import normals as normals
from mtl_jax.tasks.dense import segmentation as segmentation
from mtl_jax.tasks.dense import tokens as tokens
from mtl_jax.tasks.distillation import Distillation as Distillation
from mtl_jax.tasks.single import binary as binary
from mtl_jax.tasks.single import classification as classification
from mtl_jax.tasks.single import count as count
from mtl_jax.tasks.single import multi_label as multi_label
from mtl_jax.tasks.single import ordinal as ordinal
from mtl_jax.tasks.single import regression as regression
from mtl_jax.tasks.task import Task as Task
from mtl_jax.tasks.task import check_labels as check_labels
from mtl_jax.tasks.task import check_names as check_names
from mtl_jax.tasks.task import check_outputs as check_outputs
from mtl_jax.tasks.task import main_tasks as main_tasks

KINDS: dict[str, Callable[..., Task]] = {
    "classification": classification,
    "binary": binary,
    "multi_label": multi_label,
    "regression": regression,
    "count": count,
    "ordinal": ordinal,
    "tokens": tokens,
    "segmentation": segmentation,
    "depth": depth,
    "normals": normals,
}
