"""Δm: how far a multi-task model is from its single-task baselines, in percent.

Two conventions are in print, with opposite signs and different averages; the same
NYUv2 row of FAMO is -4.10 under one and +6.79 under the other.
"""

import math
from collections.abc import Mapping

Table = Mapping[str, Mapping[str, float]]

CONVENTIONS = {
    "metrics": "mean over all metrics, LOWER is better (Maninis et al., Nash-MTL, "
    "FAMO, FairGrad)",
    "tasks": "mean over tasks of the mean over a task's metrics, HIGHER is better "
    "(LibMTL and DB-MTL, where it is called Δp)",
}


def delta_m(
    values: Table,
    baseline: Table,
    higher_is_better: Mapping[str, Mapping[str, bool]],
    *,
    convention: str,
) -> float:
    """The mean relative change against the single-task baseline, in percent.

    With `M` the metrics of the model, `B` those of the baseline, and `h = 1` where
    higher is better, else 0,

        "metrics":  Δm = 100/K  sum_k (-1)^h_k (M_k - B_k) / |B_k|           lower
        "tasks":    Δp = 100/T  sum_t 1/K_t sum_k (-1)^(1 - h_k) (M_k - B_k) / |B_k|
                                                                             higher

    The first counts every one of the `K` metrics alike, so a task with five of them
    has five votes; the second gives each of the `T` tasks one vote.

    Differs from the papers: the divisor is `|B|`, so that a metric with a negative
    baseline (R² below 0) keeps its direction. For positive ones nothing changes.

    Args:
        values: `{task: {metric: value}}` of the multi-task model.
        baseline: The same of the single-task models.
        higher_is_better: `{task: {metric: bool}}`; may hold more than is asked.
        convention: `"metrics"` or `"tasks"`. There is no default: always say which.

    Returns:
        Percent. 0 means as good as the baseline.

    Raises:
        ValueError: For an unknown convention, tasks or metrics that differ between
            the tables, a zero baseline, or a value that is not finite.

    Example:
        >>> values = {"seg": {"miou": 44.0}, "depth": {"abs": 0.5, "rel": 0.2}}
        >>> single = {"seg": {"miou": 40.0}, "depth": {"abs": 0.5, "rel": 0.25}}
        >>> higher = {"seg": {"miou": True}, "depth": {"abs": False, "rel": False}}
        >>> round(delta_m(values, single, higher, convention="metrics"), 6)
        -10.0
        >>> round(delta_m(values, single, higher, convention="tasks"), 6)
        10.0

    References:
        Maninis et al., "Attentive Single-Tasking of Multiple Tasks", CVPR 2019;
        Lin and Zhang, "LibMTL", JMLR 2023; Lin et al., "Dual-Balancing for Multi-Task
        Learning" (DB-MTL), 2023.
    """
    if convention not in CONVENTIONS:
        known = "; ".join(f"{name!r}: {text}" for name, text in CONVENTIONS.items())
        raise ValueError(f"unknown convention {convention!r} of Δm. Use {known}.")
    _same_keys("task", values, baseline)
    gains = []  # per task, its metrics' improvements in percent
    for task in baseline:
        _same_keys(f"metric of task {task!r}", values[task], baseline[task])
        gains.append(
            [
                _gain(task, metric, values, baseline, higher_is_better)
                for metric in baseline[task]
            ]
        )
    if convention == "metrics":
        flat = [gain for task_gains in gains for gain in task_gains]
        return -math.fsum(flat) / len(flat) + 0.0  # + 0.0: never a -0.0
    return math.fsum(math.fsum(gain) / len(gain) for gain in gains) / len(gains)


def _same_keys(what: str, values: Mapping, baseline: Mapping) -> None:
    for left, right, there in (
        (baseline, values, "the values"),
        (values, baseline, "the baseline"),
    ):
        missing = sorted(set(left) - set(right))
        if missing:
            raise ValueError(
                f"Δm: no {what} {', '.join(map(repr, missing))} in {there}, so the "
                "mean would be over other things. Give both tables the same keys."
            )
    if not baseline:
        raise ValueError(f"Δm: no {what} at all. Give at least one with its baseline.")


def _gain(
    task: str,
    metric: str,
    values: Table,
    baseline: Table,
    higher_is_better: Mapping[str, Mapping[str, bool]],
) -> float:
    value, base = float(values[task][metric]), float(baseline[task][metric])
    name = f"metric {metric!r} of task {task!r}"
    for number, where in ((value, "value"), (base, "baseline")):
        if not math.isfinite(number):
            raise ValueError(
                f"Δm: the {where} of {name} is {number}. Leave the metric out of both "
                "tables, or find out why it has no finite value."
            )
    if base == 0:
        raise ValueError(
            f"Δm: the baseline of {name} is 0, so its relative change is undefined. "
            "Leave it out, or use a metric that is not 0 for the baseline."
        )
    if metric not in higher_is_better.get(task, {}):
        raise ValueError(
            f"Δm: higher_is_better does not say which way {name} goes. Add "
            f"{{{task!r}: {{{metric!r}: True or False}}}}."
        )
    sign = 1 if higher_is_better[task][metric] else -1
    return 100 * sign * (value - base) / abs(base)
