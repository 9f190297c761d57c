"""Collectives over the data-parallel axis."""

import functools
from typing import NamedTuple

import jax

from mtl_jax.typing import PyTree


class Reduce(NamedTuple):
    """Sums and gathers over the devices; the identity where `axis_name` is None."""

    axis_name: str | None

    def sum(self, value: PyTree) -> PyTree:
        """The sum over the devices."""
        return value if self.axis_name is None else jax.lax.psum(value, self.axis_name)

    def size(self) -> int:
        """How many devices there are; a plain number."""
        return 1 if self.axis_name is None else jax.lax.axis_size(self.axis_name)

    def replicated(self, value: PyTree) -> PyTree:
        """A value that is equal on all devices, with derivatives that are so too.

        `sum(f(replicated(x)))` is then a function of one x, of which JAX's own
        derivatives are right, forward, reverse and of any order. (Alone, the transpose
        of a sum over N devices is that sum, and a device's gradient is N times that of
        its part of the batch; here the mean over the devices follows.)
        """
        return value if self.axis_name is None else _replicated(value, self.axis_name)

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


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _replicated(value: PyTree, axis_name: str) -> PyTree:
    del axis_name
    return value


@_replicated.defjvp
def _mean_tangent(axis_name: str, primals: tuple, tangents: tuple) -> tuple:
    # As the tangents are equal too, this is the identity; its transpose is not.
    return primals[0], jax.lax.pmean(tangents[0], axis_name)
