"""Shared trunks."""

from mtl_jax.models.trunks.mlp import MLP as MLP
