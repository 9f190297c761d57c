"""Training: the state, the step, evaluation and the loop."""

from mtl_jax.train.averaging import average as average
from mtl_jax.train.bilevel_step import make_bilevel_step as make_bilevel_step
from mtl_jax.train.compiled import StepOutput as StepOutput
from mtl_jax.train.evaluation import decide as decide
from mtl_jax.train.evaluation import in_units as in_units
from mtl_jax.train.evaluation import make_evaluation as make_evaluation
from mtl_jax.train.evaluation import outputs as outputs
from mtl_jax.train.evaluation import predict as predict
from mtl_jax.train.fit import fit as fit
from mtl_jax.train.guard import TrainingDiverged as TrainingDiverged
from mtl_jax.train.interrupt import Interrupted as Interrupted
from mtl_jax.train.result import FitResult as FitResult
from mtl_jax.train.state import TrainState as TrainState
from mtl_jax.train.state import create as create
from mtl_jax.train.step import make_train_step as make_train_step
