"""The end of a step: its outcome where that is finite, else nothing."""

from collections.abc import Callable

import jax

from mtl_jax import tree
from mtl_jax.typing import Array, PyTree


def commit(
    moved: Callable[[], PyTree],
    kept: PyTree,
    finite: Array,
    careful: bool | Array,
    *,
    cheap: bool,
) -> tuple[PyTree, Array]:
    """`moved()` if it is sound, else `kept`; and which of the two.

    A gradient may be finite and its square, in the optimizer, not: so what is looked at
    is what would be kept.

    Args:
        moved: the outcome of the step.
        kept: the same before the step.
        finite: `[] bool`, whether the losses and gradients are.
        careful: `[] bool`; false: do not look at the outcome.
        cheap: whether `moved` is no more than a few passes over the parameters.

    Returns:
        The outcome or `kept`, and `[] bool`.
    """
    if not cheap or jax.default_backend() != "cpu":
        # A branch would make an accelerator wait for the host.
        after = moved()
        finite = finite & tree.stays_finite(kept, after)
        return tree.select(finite, after, kept), finite
    # On the CPU the step of a small model is bound by memory. In a branch the new
    # values take the place of the old, while a select writes, reads and writes them
    # again; within the test they are computed on the way and never written.
    if careful is True:
        finite = finite & tree.stays_finite(kept, moved())
    else:
        finite = finite & jax.lax.cond(
            careful,
            lambda: tree.stays_finite(kept, moved()),
            lambda: jax.numpy.array(True),
        )
    return jax.lax.cond(finite, moved, lambda: kept), finite
