"""Trained models for small devices: what they cost, and one file that predicts."""

from mtl_jax.deploy.cost import Cost as Cost
from mtl_jax.deploy.cost import costs as costs
from mtl_jax.deploy.export import export_predict as export_predict
from mtl_jax.deploy.reader import load as load
from mtl_jax.deploy.weights import WEIGHTS as WEIGHTS
