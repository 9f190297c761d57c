"""Checkpoints that are verified leaf by leaf and survive a kill at any moment.

Read it in this order: `manager` (what users call), `directory` (steps on disk, by
Orbax), `record` (what is written to verify them), `leaves` (pytree to host arrays),
`match` (and back), `storage` (as Orbax can store them), `quiet`.
"""

from mtl_jax.checkpoint.manager import Checkpoints, Restored
from mtl_jax.checkpoint.record import CheckpointError, CheckpointWarning

__all__ = ["CheckpointError", "CheckpointWarning", "Checkpoints", "Restored"]
