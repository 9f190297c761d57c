"""Self-supervised tasks whose labels are the inputs: autoencoding and its kin."""

import math
from typing import Any, Literal

import jax
import jax.numpy as jnp

from mtl_jax import losses, metrics
from mtl_jax.errors import unknown_name
from mtl_jax.tasks.pretext import Examples, Pretext
from mtl_jax.tasks.task import Task
from mtl_jax.typing import Array, PyTree

SEEN = -float(2**30)
"""The label of a number that was not hidden: none."""

NOISES = ("gaussian", "masking")


def autoencoding(
    name: str, num_outputs: int, *, scale: float | None = None, **fields: Any
) -> Task:
    """A task that gives the inputs back, from the representation that tasks share.

    The loss is the mean of `(output - scale · input)²` over all numbers of an example.
    It reads the inputs as they are, so that methods work at the representation too.

    Args:
        name: of the task.
        num_outputs: P, how many numbers an example has; the head has outputs `[B, P]`.
        scale: of the labels; default: 1/255 where the inputs are bytes, else 1.
        **fields: other fields of `Task`.

    Returns:
        The task; "loss" at evaluation is the mean squared error.

    Raises:
        ValueError: another scale; when trained, inputs of several arrays, or of
            another size.

    Example:
        >>> task = autoencoding("pixels", 4)
        >>> images = jnp.full((1, 2, 2), 255, jnp.uint8)
        >>> task.pretext.examples(jax.random.key(0), images).labels.tolist()
        [[1.0, 1.0, 1.0, 1.0]]

    References:
        Rumelhart, Hinton and Williams, Learning internal representations by error
        propagation, 1986. Beside supervised tasks: Le, Patterson and White, Supervised
        autoencoders, NeurIPS 2018.
    """

    _check_scale(name, scale)

    def examples(key: Array, inputs: PyTree) -> Examples:
        del key
        return Examples((), _numbers(name, inputs, num_outputs, scale)[0])

    return _task(name, num_outputs, Pretext(examples, 0), fields)


def denoising(
    name: str,
    num_outputs: int,
    *,
    noise: Literal["gaussian", "masking"] = "masking",
    level: float = 0.3,
    scale: float | None = None,
    **fields: Any,
) -> Task:
    """A task that gives the inputs back from corrupted ones.

    With x̃ drawn from `q(x̃ | x)`, the loss is the mean of `(output(x̃) - scale · x)²`
    over all numbers (Vincent et al., equation 5, with squared errors).

    Args:
        name: of the task.
        num_outputs: P, how many numbers an example has.
        noise: "masking" makes numbers 0; "gaussian" adds to each.
        level: the probability of a number to be masked, or the standard deviation of
            what is added, in the units of the labels.
        scale: of the labels; default: 1/255 where the inputs are bytes, else 1.
        **fields: other fields of `Task`.

    Returns:
        The task; "loss" at evaluation is the mean squared error.

    Raises:
        ValueError: another noise, level or scale; when trained, inputs of several
            arrays, or of another size.

    Example:
        >>> task = denoising("clean", 100, level=0.5)
        >>> views, labels = task.pretext.examples(jax.random.key(0), jnp.ones((1, 100)))
        >>> 0.3 < views[0].mean() < 0.7, labels.mean()
        (Array(True, dtype=bool), Array(1., dtype=float32))

    References:
        Vincent, Larochelle, Bengio and Manzagol, Extracting and Composing Robust
        Features with Denoising Autoencoders, ICML 2008. Differs: each number is masked
        independently, where they mask a fixed share of each example. Gaussian noise is
        in Vincent et al., Stacked Denoising Autoencoders, JMLR 2010.
    """
    _check_scale(name, scale)
    if noise not in NOISES:
        raise unknown_name("noise of denoising", noise, NOISES)
    if not level > 0 or (noise == "masking" and not level < 1):
        raise ValueError(
            f"denoising task {name!r} was given level={level} of {noise} noise; give "
            "a share in (0, 1) for masking, a positive deviation for gaussian"
        )

    def examples(key: Array, inputs: PyTree) -> Examples:
        labels, factor = _numbers(name, inputs, num_outputs, scale)
        x = _floating(inputs)
        if noise == "masking":
            view = jnp.where(jax.random.bernoulli(key, level, x.shape), 0, x)
        else:
            view = x + level / factor * jax.random.normal(key, x.shape, x.dtype)
        return Examples((view,), labels)

    return _task(name, num_outputs, Pretext(examples), fields)


def masked(
    name: str,
    num_outputs: int,
    *,
    patch: int = 4,
    share: float = 0.5,
    scale: float | None = None,
    **fields: Any,
) -> Task:
    """A task that predicts what is hidden of the inputs, from the rest of them.

    A share of the patches of each image, so many exactly, is made 0; the loss is the
    mean of `(output - scale · input)²` over the hidden numbers alone. Of vectors,
    single numbers are hidden.

    Args:
        name: of the task.
        num_outputs: P, how many numbers an example has.
        patch: side of the square patches, in pixels; those at the right and lower edge
            may be smaller.
        share: of the patches that are hidden, in (0, 1); at least one is, and one is
            not.
        scale: of the labels; default: 1/255 where the inputs are bytes, else 1.
        **fields: other fields of `Task`.

    Returns:
        The task; "loss" and "abs_error" at evaluation are of the hidden numbers.

    Raises:
        ValueError: another share, patch or scale; when trained, inputs of several
            arrays, or of another size, or that are one patch.

    Example:
        >>> task = masked("hidden", 4, share=0.25)
        >>> views, labels = task.pretext.examples(jax.random.key(0), jnp.ones((1, 4)))
        >>> views[0].sum(), (labels == SEEN).sum()
        (Array(3., dtype=float32), Array(3, dtype=int32))

    References:
        He et al., Masked Autoencoders Are Scalable Vision Learners, CVPR 2022, whose
        loss is of the hidden patches too. Differs: their encoder sees the other patches
        alone, ours sees zeros, for any trunk; and they hide 75 %.
    """
    _check_scale(name, scale)
    if not 0 < share < 1 or patch < 1:
        raise ValueError(
            f"masked task {name!r} was given share={share}, patch={patch}; give a "
            "share in (0, 1) and a patch of 1 or more"
        )

    def examples(key: Array, inputs: PyTree) -> Examples:
        labels, _ = _numbers(name, inputs, num_outputs, scale)
        x = _floating(inputs)
        hidden = _hidden(name, key, x.shape, patch, share)
        hidden = jnp.broadcast_to(hidden, x.shape)
        labels = jnp.where(hidden.reshape(labels.shape), labels, SEEN)
        return Examples((jnp.where(hidden, 0, x),), labels)

    fields.setdefault("loss", losses.mse(SEEN))
    fields.setdefault("metrics", (_HIDDEN,))
    return _task(name, num_outputs, Pretext(examples), fields)


# The same objects for all tasks: those of one metric are measured together.
_NUMBERS = (metrics.mae(),)
_HIDDEN = metrics.abs_error(SEEN)


def _check_scale(name: str, scale: float | None) -> None:
    if scale is not None and not 0 < scale < math.inf:
        raise ValueError(
            f"task {name!r} was given scale={scale}, by which inputs become labels; "
            "give a positive number"
        )


def _task(name: str, count: int, pretext: Pretext, fields: dict[str, Any]) -> Task:
    return Task(
        name,
        fields.pop("loss", losses.mse()),
        fields.pop("metrics", _NUMBERS),
        num_outputs=count,
        pretext=pretext,
        **fields,
    )


def _numbers(
    name: str, inputs: PyTree, count: int, scale: float | None
) -> tuple[Array, float]:
    """The inputs as labels `[B, P]`, and their scale."""
    if not hasattr(inputs, "shape") or inputs.ndim < 2:
        found = "several arrays" if not hasattr(inputs, "shape") else inputs.shape
        raise ValueError(
            f"task {name!r} gives back inputs that are one array [B, ...] of numbers; "
            f"found {found}. Of texts, use masked_tokens"
        )
    size = inputs.size // inputs.shape[0]
    if size != count:
        raise ValueError(
            f"task {name!r} has {count} outputs; its inputs {list(inputs.shape)} have "
            f"{size} numbers an example. Set num_outputs={size}, or leave it out"
        )
    factor = scale if scale is not None else 1 / 255 if inputs.dtype == "uint8" else 1.0
    flat = inputs.reshape(inputs.shape[0], -1).astype(jnp.float32)
    return flat * factor, factor


def _floating(x: Array) -> Array:
    return x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(jnp.float32)


def _hidden(
    name: str, key: Array, shape: tuple[int, ...], patch: int, share: float
) -> Array:
    """Where numbers are hidden, bool `[B, P]` or `[B, H, W, 1...]`."""
    patch = 1 if len(shape) == 2 else patch
    sides = shape[1:3]
    grid = [-(-side // patch) for side in sides]
    total = math.prod(grid)
    if total < 2:
        raise ValueError(
            f"masked task {name!r}: inputs of shape {list(shape)} are one patch of "
            f"{patch}. Give a smaller patch"
        )
    count = min(max(round(share * total), 1), total - 1)
    order = jnp.argsort(jax.random.uniform(key, (shape[0], total)), axis=1)
    hidden = jnp.zeros((shape[0], total), bool)
    hidden = hidden.at[jnp.arange(shape[0])[:, None], order[:, :count]].set(True)
    hidden = hidden.reshape(shape[0], *grid)
    for axis, side in enumerate(sides, 1):
        hidden = jnp.repeat(hidden, patch, axis=axis)
        hidden = jax.lax.slice_in_dim(hidden, 0, side, axis=axis)
    return hidden.reshape(*hidden.shape, *(1,) * (len(shape) - hidden.ndim))
