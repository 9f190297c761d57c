"""Multi-task learning for JAX.

The shortest way is `fit(model, tasks, data, method="uw")`; the parts it is made of
(`weighting`, `engine`, `train`, `data`, …) are modules of their own.
"""

from mtl_jax import data as data
from mtl_jax import engine as engine
from mtl_jax import losses as losses
from mtl_jax import metrics as metrics
from mtl_jax import models as models
from mtl_jax import train as train
from mtl_jax import weighting as weighting
from mtl_jax._version import __version__ as __version__
from mtl_jax.metrics import delta_m as delta_m
from mtl_jax.tasks import Task as Task
from mtl_jax.tasks import binary as binary
from mtl_jax.tasks import classification as classification
from mtl_jax.tasks import count as count
from mtl_jax.tasks import depth as depth
from mtl_jax.tasks import multi_label as multi_label
from mtl_jax.tasks import normals as normals
from mtl_jax.tasks import ordinal as ordinal
from mtl_jax.tasks import regression as regression
from mtl_jax.tasks import segmentation as segmentation
from mtl_jax.tasks import tokens as tokens
from mtl_jax.train import FitResult as FitResult
from mtl_jax.train import fit as fit
