"""Kinds of tasks with one answer an example, or a few: classes, levels, numbers."""

from typing import Any

from mtl_jax import losses, metrics
from mtl_jax.tasks.task import Task

# The same objects for all tasks: those of one metric are measured together.
_CLASSES = (metrics.accuracy(), metrics.f1())
_YES_OR_NO = (metrics.accuracy(), metrics.auc())
_QUESTIONS = (*_YES_OR_NO, metrics.average_precision(), metrics.f1())
_NUMBERS = (metrics.mae(), metrics.rmse(), metrics.r2())
_COUNTS = (metrics.poisson_deviance(), metrics.count_mae(), metrics.count_rmse())
_LEVELS = (metrics.level_accuracy(), metrics.level_mae())


def classification(name: str, num_classes: int, **fields: Any) -> Task:
    """A task of exclusive classes: softmax cross-entropy, accuracy, macro F1.

    Args:
        name: of the task.
        num_classes: C; the head has outputs `[B, C]`, labels are integers below C.
        **fields: other fields of `Task`.

    Returns:
        The task.

    Example:
        >>> classification("digit", 10).loss.name
        'softmax_cross_entropy'
    """
    return Task(
        name,
        fields.pop("loss", losses.softmax_cross_entropy()),
        fields.pop("metrics", _CLASSES),
        num_outputs=num_classes,
        **fields,
    )


def binary(name: str, **fields: Any) -> Task:
    """A yes-or-no task: sigmoid cross-entropy, accuracy, AUC.

    Args:
        name: of the task; the head has outputs `[B, 1]` or `[B]`, labels are 0 or 1.
        **fields: other fields of `Task`.

    Returns:
        The task.

    Example:
        >>> binary("spam").num_outputs
        1
    """
    return Task(
        name,
        fields.pop("loss", losses.sigmoid_cross_entropy()),
        fields.pop("metrics", _YES_OR_NO),
        num_outputs=1,
        **fields,
    )


def multi_label(name: str, num_labels: int, **fields: Any) -> Task:
    """Several yes-or-no questions: sigmoid cross-entropy, accuracy, AUC, AP, macro F1.

    Args:
        name: of the task.
        num_labels: K; the head has outputs `[B, K]`, labels are `[B, K]`: 0 or 1, or -1
            where there is no answer. Loss and metrics leave those out.
        **fields: other fields of `Task`.

    Returns:
        The task.

    Example:
        >>> [m.name for m in multi_label("toxicity", 12).metrics]
        ['accuracy', 'auc', 'average_precision', 'f1']
    """
    return Task(
        name,
        fields.pop("loss", losses.sigmoid_cross_entropy(ignore=-1)),
        fields.pop("metrics", _QUESTIONS),
        num_outputs=num_labels,
        **fields,
    )


def regression(name: str, num_outputs: int = 1, **fields: Any) -> Task:
    """A task of real numbers: mean squared error, MAE, RMSE, R².

    Args:
        name: of the task.
        num_outputs: K; the head has outputs `[B, K]`, labels are `[B, K]`, or `[B]`
            where K is 1.
        **fields: other fields of `Task`.

    Returns:
        The task.

    Example:
        >>> [m.name for m in regression("age").metrics]
        ['mae', 'rmse', 'r2']
    """
    return Task(
        name,
        fields.pop("loss", losses.mse()),
        fields.pop("metrics", _NUMBERS),
        num_outputs=num_outputs,
        **fields,
    )


def count(name: str, **fields: Any) -> Task:
    """A task of counts: Poisson likelihood, deviance, MAE and RMSE of the rate.

    Args:
        name: of the task; the head has outputs `[B, 1]` or `[B]`, the logarithms of the
            expected counts, and labels are numbers from 0 on.
        **fields: other fields of `Task`.

    Returns:
        The task.

    Example:
        >>> [m.name for m in count("visits").metrics]
        ['poisson_deviance', 'count_mae', 'count_rmse']
    """
    return Task(
        name,
        fields.pop("loss", losses.poisson()),
        fields.pop("metrics", _COUNTS),
        num_outputs=1,
        **fields,
    )


def ordinal(name: str, num_levels: int, **fields: Any) -> Task:
    """A task of ordered levels: cumulative cross-entropy, accuracy, MAE in levels.

    Args:
        name: of the task.
        num_levels: K, at least 2; the head has outputs `[B, K - 1]`, logits of "is the
            level above k?", and labels are integers below K.
        **fields: other fields of `Task`.

    Returns:
        The task.

    Raises:
        ValueError: fewer than two levels.

    Example:
        >>> ordinal("stars", 5).num_outputs
        4
    """
    if num_levels < 2:
        raise ValueError(
            f"task {name!r} was given num_levels={num_levels}; levels are at least 2, "
            "and the head has one output less"
        )
    return Task(
        name,
        fields.pop("loss", losses.ordinal()),
        fields.pop("metrics", _LEVELS),
        num_outputs=num_levels - 1,
        **fields,
    )
