"""Collectives over the data-parallel axis."""

from typing import NamedTuple

import jax

from mtl_jax.typing import PyTree


class Reduce(NamedTuple):
    """Sums and gathers over the devices; the identity where `axis_name` is None."""

    axis_name: str | None

    def sum(self, value: PyTree) -> PyTree:
        """The sum over the devices."""
        return value if self.axis_name is None else jax.lax.psum(value, self.axis_name)

    def gather(self, value: PyTree, axis: int) -> PyTree:
        """The devices' arrays, one behind the other along `axis`."""
        if self.axis_name is None:
            return value
        gather = jax.lax.all_gather
        return jax.tree.map(
            lambda a: gather(a, self.axis_name, axis=axis, tiled=True), value
        )

    def own_part(self, value: PyTree, like: PyTree) -> PyTree:
        """This device's rows of a gathered batch."""
        if self.axis_name is None:
            return value
        index = jax.lax.axis_index(self.axis_name)
        return jax.tree.map(
            lambda a, b: jax.lax.dynamic_slice_in_dim(
                a, index * b.shape[0], b.shape[0]
            ),
            value,
            like,
        )
