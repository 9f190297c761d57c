"""Tasks: a name, a loss, metrics, and what the labels must look like.

`classification` and so on make the tasks of each kind; `KINDS` has them by name, and
`PRETEXTS` those that need no labels.
"""

from collections.abc import Callable

from mtl_jax.tasks.contrastive import contrastive as contrastive
from mtl_jax.tasks.dense import depth as depth
from mtl_jax.tasks.dense import normals as normals
from mtl_jax.tasks.dense import segmentation as segmentation
from mtl_jax.tasks.dense import tokens as tokens
from mtl_jax.tasks.distillation import Distillation as Distillation
from mtl_jax.tasks.masked_tokens import masked_tokens as masked_tokens
from mtl_jax.tasks.pretext import Examples as Examples
from mtl_jax.tasks.pretext import Pretext as Pretext
from mtl_jax.tasks.reconstruction import autoencoding as autoencoding
from mtl_jax.tasks.reconstruction import denoising as denoising
from mtl_jax.tasks.reconstruction import masked as masked
from mtl_jax.tasks.rotation import rotation as rotation
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
from mtl_jax.tasks.task import in_units_of as in_units_of
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

PRETEXTS: dict[str, Callable[..., Task]] = {
    "autoencoding": autoencoding,
    "denoising": denoising,
    "masked": masked,
    "masked_tokens": masked_tokens,
    "rotation": rotation,
    "contrastive": contrastive,
}
"""Kinds of self-supervised tasks."""
