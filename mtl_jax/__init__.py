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
from mtl_jax.tasks import regression as regression
from mtl_jax.train import FitResult as FitResult
from mtl_jax.train import fit as fit
