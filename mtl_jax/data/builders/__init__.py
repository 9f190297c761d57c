"""The sets that mtl_jax prepares itself, each with its `SPEC` and its reader.

Readers are plain NumPy; only `written` imports TFDS, when a set is prepared.
"""
