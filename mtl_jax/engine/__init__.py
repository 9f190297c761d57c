"""The per-task gradient engine: no model library, no method, knows both."""

from mtl_jax.engine.bilevel import bilevel_gradients as bilevel_gradients
from mtl_jax.engine.gradients import Gradients as Gradients
from mtl_jax.engine.gradients import evaluate_losses as evaluate_losses
from mtl_jax.engine.gradients import gradients as gradients
from mtl_jax.engine.gramian import ROUTES as ROUTES
from mtl_jax.engine.gramian import check_route as check_route
from mtl_jax.engine.losses import Encoded as Encoded
from mtl_jax.engine.losses import SplitLosses as SplitLosses
from mtl_jax.engine.losses import StackedLosses as StackedLosses
from mtl_jax.engine.losses import TaskLosses as TaskLosses
