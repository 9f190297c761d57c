"""Task-axis algebra on pytrees.

`task_grads` is a pytree whose every leaf has a leading axis T: row t of all the
leaves together is the gradient of the loss of task t, one row of the Jacobian J.
"""

import jax
import jax.numpy as jnp

from mtl_jax.typing import Array, PyTree


def num_tasks(task_grads: PyTree) -> int:
    """The length T of the task axis."""
    return jax.tree.leaves(task_grads)[0].shape[0]


def gramian(task_grads: PyTree) -> Array:
    """The inner products of all pairs of task gradients, `G = J Jᵀ`.

    Args:
        task_grads: pytree of `[T, ...]` leaves.

    Returns:
        `[T, T]`, float32 or wider whatever the leaves' dtype. In float32 an entry is
        off by about `1e-7 ‖g_i‖ ‖g_j‖`, and norms beyond 1e19 overflow.

    Example:
        >>> gramian({"a": jnp.eye(2), "b": jnp.ones((2, 3))}).tolist()
        [[4.0, 3.0], [3.0, 4.0]]
    """
    return cross_gramian(task_grads, task_grads)


def cross_gramian(first: PyTree, second: PyTree) -> Array:
    """The inner products of the task gradients of two samples, `J_1 J_2ᵀ`.

    Args:
        first: pytree of `[T, ...]` leaves, the rows.
        second: the same structure, the columns.

    Returns:
        `[T, T]`, float32 or wider.
    """

    def one_leaf(a: Array, b: Array) -> Array:
        wide = jnp.promote_types(a.dtype, jnp.float32)
        rows, columns = (x.reshape(x.shape[0], -1).astype(wide) for x in (a, b))
        return jnp.matmul(rows, columns.T, precision=jax.lax.Precision.HIGHEST)

    products = jax.tree.map(one_leaf, first, second)
    return sum(jax.tree.leaves(products))  # type: ignore[return-value]


def combine(weights: Array, task_grads: PyTree) -> PyTree:
    """The weighted sum of task gradients, `d = Jᵀ w`.

    Args:
        weights: `[T]`.
        task_grads: pytree of `[T, ...]` leaves.

    Returns:
        Pytree without the task axis, each leaf in its own dtype.

    Example:
        >>> task_grads = jnp.array([[3.0, 5.0], [1.0, 2.0]])
        >>> combine(jnp.array([1.0, -1.0]), task_grads).tolist()
        [2.0, 3.0]
    """

    def one_leaf(leaf: Array) -> Array:
        wide = jnp.promote_types(leaf.dtype, jnp.float32)
        total = jnp.tensordot(
            weights.astype(wide),
            leaf.astype(wide),
            axes=1,
            precision=jax.lax.Precision.HIGHEST,
        )
        return total.astype(leaf.dtype)

    return jax.tree.map(one_leaf, task_grads)


def all_finite(tree: PyTree) -> Array:
    """Whether no inexact leaf holds a NaN or an infinity; a bool scalar."""
    leaves = [
        leaf
        for leaf in jax.tree.leaves(tree)
        if jnp.issubdtype(leaf.dtype, jnp.inexact)
    ]

    def one_by_one() -> Array:
        return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in leaves]))

    if not leaves:
        return jnp.array(True)
    if jax.default_backend() != "cpu":
        return one_by_one()
    # A CPU adds numbers many times as fast as it looks at them. Where their sum is
    # finite, so are they; where it is not, they may have been no more than large.
    sums = [jnp.sum(_column_sums(leaf).real.astype(float)) for leaf in leaves]
    sure = jnp.isfinite(sum(sums))
    return jax.lax.cond(sure, lambda: jnp.array(True), one_by_one)


def _column_sums(leaf: Array) -> Array:
    """The sums over the first axis, of a leaf with two axes or more."""
    if leaf.ndim < 2:
        return leaf
    rows = leaf.reshape(leaf.shape[0], -1)
    # Two rows of ones: a product with one is made a reduction, which is slow.
    return jnp.ones((2, len(rows)), leaf.dtype) @ rows


def stays_finite(before: PyTree, after: PyTree) -> Array:
    """Whether no entry that was finite has become a NaN or an infinity; a bool scalar.

    (Some optimizers start at infinity.)
    """
    # Leaves of one shape are looked at together: a parameter and what the optimizer
    # keeps of it come from the same numbers, which are then read once.
    kept: dict[tuple[int, ...], Array] = {}
    for old, new in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True):
        if jnp.issubdtype(new.dtype, jnp.inexact):
            good = jnp.isfinite(new) | ~jnp.isfinite(old)
            kept[new.shape] = kept[new.shape] & good if new.shape in kept else good
    if not kept:
        return jnp.array(True)
    return jnp.all(jnp.stack([jnp.all(good) for good in kept.values()]))


def select(condition: Array, if_true: PyTree, if_false: PyTree) -> PyTree:
    """Leaf by leaf, `if_true` where the scalar condition holds, else `if_false`."""
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), if_true, if_false)


def copy(tree: PyTree) -> PyTree:
    """A tree of new JAX arrays, safe to donate while the original lives on."""
    return jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), tree)
