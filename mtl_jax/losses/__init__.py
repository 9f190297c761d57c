"""Losses of one task: a value and a weight per example, and checks that explain.

The loss of a batch is `sum(mask * values) / sum(mask * weights)`, so that masks,
class weights, padded positions and uneven device splits all divide by the right number.
"""

from mtl_jax.losses.averaging import average as average
from mtl_jax.losses.base import Loss as Loss
from mtl_jax.losses.base import kpi_per_example as kpi_per_example
from mtl_jax.losses.base import safe_labels as safe_labels
from mtl_jax.losses.count import poisson as poisson
from mtl_jax.losses.cross_entropy import sigmoid_cross_entropy as sigmoid_cross_entropy
from mtl_jax.losses.cross_entropy import softmax_cross_entropy as softmax_cross_entropy
from mtl_jax.losses.direction import cosine as cosine
from mtl_jax.losses.distillation import distance as distance
from mtl_jax.losses.members import of_members as of_members
from mtl_jax.losses.ordinal import ordinal as ordinal
from mtl_jax.losses.registry import LOSSES as LOSSES
from mtl_jax.losses.registry import make as make
from mtl_jax.losses.regression import huber as huber
from mtl_jax.losses.regression import mae as mae
from mtl_jax.losses.regression import mse as mse
