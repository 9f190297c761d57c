"""Multi-task learning for JAX."""

from mtl_jax._version import __version__ as __version__
