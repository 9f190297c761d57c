"""TFDS builders of our own, prepared without TensorFlow and without a network.

Nothing is imported here: a builder's module imports TFDS, so `mtl_jax.data.prepare`
imports it when a set is prepared.
"""
