"""Gramians of task losses, without the Jacobian where that is cheaper."""

from mtl_jax.engine.gramian.routes import ROUTES as ROUTES
from mtl_jax.engine.gramian.routes import check_route as check_route
