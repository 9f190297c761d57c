"""Kinds of tasks with an answer at each position: tokens of a text, pixels."""

from collections.abc import Sequence
from typing import Any

from mtl_jax import losses, metrics
from mtl_jax.metrics import Metric, tags
from mtl_jax.tasks.task import Task

# The same objects for all tasks: those of one metric are measured together.
_TOKENS = (metrics.token_accuracy(),)
_PIXELS = (metrics.mean_iou(), metrics.pixel_accuracy())
_DEPTHS = (metrics.abs_error(), metrics.rel_error())
_ANGLES = (
    metrics.angular_error(),
    metrics.angular_median(),
    metrics.angular_within(11.25),
    metrics.angular_within(22.5),
    metrics.angular_within(30),
)


def tokens(
    name: str, num_classes: int, labels: Sequence[str] | None = None, **fields: Any
) -> Task:
    """A class for each token: softmax cross-entropy, accuracy, F1 of chunks.

    Args:
        name: of the task.
        num_classes: C; the head has outputs `[B, L, C]`, labels are `[B, L]`: integers
            below C, or -1 at padding and wherever a token has no label.
        labels: the names of the classes; where they are chunk tags (O, B-PER, I-PER),
            precision, recall and F1 of the chunks are measured as well.
        **fields: other fields of `Task`.

    Returns:
        The task.

    Raises:
        ValueError: another number of names than of classes.

    Example:
        >>> task = tokens("entities", 3, labels=("O", "B-PER", "I-PER"))
        >>> [m.name for m in task.metrics]
        ['token_accuracy', 'span_f1', 'span_precision', 'span_recall']
    """
    measured: tuple[Metric, ...] = _TOKENS
    if labels is not None and len(labels) != num_classes:
        raise ValueError(
            f"task {name!r} was given {len(labels)} labels and num_classes="
            f"{num_classes}; give the name of each class, in their order"
        )
    if labels is not None and tags.are_tags(labels):
        measured += (
            metrics.span_f1(labels),
            metrics.span_precision(labels),
            metrics.span_recall(labels),
        )
    return Task(
        name,
        fields.pop("loss", losses.softmax_cross_entropy(ignore=-1)),
        fields.pop("metrics", measured),
        num_outputs=num_classes,
        **fields,
    )


def segmentation(name: str, num_classes: int, **fields: Any) -> Task:
    """A class for each pixel: softmax cross-entropy, mean IoU, pixel accuracy.

    Args:
        name: of the task.
        num_classes: C; the head has outputs `[B, H, W, C]`, labels are `[B, H, W]`:
            integers below C, or -1 where a pixel has no class.
        **fields: other fields of `Task`.

    Returns:
        The task.

    Example:
        >>> [m.name for m in segmentation("scene", 13).metrics]
        ['mean_iou', 'pixel_accuracy']
    """
    return Task(
        name,
        fields.pop("loss", losses.softmax_cross_entropy(ignore=-1)),
        fields.pop("metrics", _PIXELS),
        num_outputs=num_classes,
        **fields,
    )


def depth(name: str, **fields: Any) -> Task:
    """A distance for each pixel: mean absolute error, also relative to the distance.

    Args:
        name: of the task; the head has outputs `[B, H, W, 1]`, labels are `[B, H, W]`
            or `[B, H, W, 1]`: positive, or 0 where nothing was measured.
        **fields: other fields of `Task`.

    Returns:
        The task.

    Example:
        >>> task = depth("distance")
        >>> task.loss.name, [m.name for m in task.metrics]
        ('mae', ['abs_error', 'rel_error'])
    """
    return Task(
        name,
        fields.pop("loss", losses.mae(invalid=0.0)),
        fields.pop("metrics", _DEPTHS),
        num_outputs=1,
        **fields,
    )


def normals(name: str, **fields: Any) -> Task:
    """A surface normal for each pixel: cosine loss, angles to the labels.

    Args:
        name: of the task; the head has outputs `[B, H, W, 3]`, of any length, and
            labels are `[B, H, W, 3]`: floating unit vectors, or zero where there is
            none.
        **fields: other fields of `Task`.

    Returns:
        The task.

    Example:
        >>> task = normals("surface")
        >>> task.loss.name, task.metrics[0].name, task.num_outputs
        ('cosine', 'angular_error', 3)
    """
    return Task(
        name,
        fields.pop("loss", losses.cosine()),
        fields.pop("metrics", _ANGLES),
        num_outputs=3,
        **fields,
    )
