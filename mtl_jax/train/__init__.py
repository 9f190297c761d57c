"""Training: the state, the step, evaluation and the loop."""

from mtl_jax.train.state import TrainState as TrainState
from mtl_jax.train.state import create as create
from mtl_jax.train.step import StepOutput as StepOutput
from mtl_jax.train.step import make_train_step as make_train_step
