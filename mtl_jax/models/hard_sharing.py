"""Hard parameter sharing: one trunk, one head a task."""

from collections.abc import Mapping
from typing import ClassVar

import flax.linen as nn

from mtl_jax.errors import unknown_name
from mtl_jax.models import calling
from mtl_jax.typing import Array, PyTree


class HardSharing(nn.Module):
    """A shared trunk whose representation every head reads.

    Attributes:
        trunk: module with `__call__(inputs [B, ...]) -> representation [B, D]`, which
            may be of any shape `[B, ...]` and a dict of such, and so may the inputs; it
            may also take `train`, for dropout and BatchNorm.
        heads: task name to module with `__call__(representation) -> outputs`, with or
            without `train`; their order is of no importance.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from mtl_jax.models import MLP
        >>> net = HardSharing(MLP((8,)), {"digit": nn.Dense(10), "odd": nn.Dense(1)})
        >>> outputs, _ = net.init_with_output(jax.random.key(0), jnp.ones((2, 64)))
        >>> {name: out.shape for name, out in outputs.items()}
        {'digit': (2, 10), 'odd': (2, 1)}

    References:
        Caruana, Multitask Learning, Machine Learning 1997.
    """

    trunk: nn.Module
    heads: Mapping[str, nn.Module]

    shared_names: ClassVar[tuple[str, ...]] = ("trunk",)
    head_field: ClassVar[str] = "heads"

    def __call__(self, inputs: Array, train: bool = False) -> dict[str, Array]:
        """`{task: outputs}` of a batch of inputs `[B, ...]`."""
        representation = self.encode(inputs, train)
        return self.decode(dict.fromkeys(self.heads, representation), train)

    def encode(self, inputs: Array, train: bool = False) -> PyTree:
        """The representation of a batch."""
        return calling.call(self.trunk, inputs, train)

    def decode(
        self, representations: Mapping[str, PyTree], train: bool = False
    ) -> dict[str, Array]:
        """`{task: outputs}`, each from the task's own entry of `representations`.

        Raises:
            ValueError: a task that has no head.
        """
        for name in representations:
            if name not in self.heads:
                found = unknown_name("head", name, self.heads)
                raise ValueError(
                    f"task {name!r} has no head in the model: {found} Name heads and "
                    "tasks alike."
                )
        return {
            name: calling.call(self.heads[name], z, train)
            for name, z in representations.items()
        }
