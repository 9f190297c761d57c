import copy

import pytest

from mtl_jax import metrics

HIGHER = {
    "segmentation": {"miou": True, "pixacc": True},
    "depth": {"abs": False, "rel": False},
    "normal": {"mean": False, "median": False, "11": True, "22": True, "30": True},
}


def table(*numbers):
    numbers = iter(numbers)
    return {task: {m: next(numbers) for m in names} for task, names in HIGHER.items()}


STL = table(38.30, 63.76, 0.6754, 0.2780, 25.01, 19.21, 30.14, 57.20, 69.15)

# NYUv2, SegNet: nine metrics, Δm as published, then both conventions recomputed from
# the printed (rounded) metrics.
ROWS = """
LS       39.29 65.33 .5493 .2263 28.15 23.96 22.09 47.50 61.08  5.59  5.59  0.88
SI       38.45 64.27 .5354 .2201 27.60 23.37 22.53 48.57 62.32  4.39  4.39  1.64
RLW      37.17 63.77 .5759 .2410 28.27 24.18 22.26 47.05 60.62  7.78  7.78 -2.16
DWA      39.11 65.31 .5510 .2285 27.61 23.18 24.17 50.18 62.39  3.57  3.57  1.93
UW       36.87 63.17 .5446 .2260 27.04 22.61 23.54 49.05 63.65  4.05  4.06  0.91
MGDA     30.47 59.90 .6070 .2555 24.88 19.45 29.18 56.88 69.36  1.38  1.38 -1.66
PCGrad   38.06 64.64 .5550 .2325 27.41 22.80 23.86 49.83 63.14  3.97  3.97  1.11
GradDrop 39.39 65.12 .5455 .2279 27.48 22.96 23.38 49.44 62.87  3.58  3.58  2.07
CAGrad   39.79 65.49 .5486 .2250 26.31 21.58 25.61 52.36 65.58  0.20  0.19  4.33
IMTL-G   39.35 65.60 .5426 .2256 26.02 21.19 26.20 53.13 66.24 -0.76 -0.60  4.77
Nash-MTL 40.13 65.93 .5261 .2171 25.26 20.08 28.40 55.47 68.15 -4.04 -4.05  7.65
FAMO     38.88 64.90 .5474 .2194 25.06 19.57 29.21 56.61 68.98 -4.10 -4.10  6.79
Aligned  40.15 66.05 .5520 .2291 25.37 19.89 28.30 55.29 67.95 -3.12 -3.12  6.30
STCH     41.35 66.07 .4965 .2010 26.55 21.81 24.84 51.39 64.86 -1.35 -1.35  7.39
FairGrad 39.74 66.01 .5377 .2236 24.84 19.60 29.26 56.58 69.16 -4.66 -4.66  7.52
DB-MTL   41.42 66.45 .5251 .2160 25.03 19.50 28.72 56.17 68.73 -5.36 -5.36  8.91
"""
ROWS = [line.split() for line in ROWS.strip().splitlines()]


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_published_nyuv2_rows(row):
    *numbers, published, by_metrics, by_tasks = map(float, row[1:])
    values = table(*numbers)
    found = metrics.delta_m(values, STL, HIGHER, convention="metrics")
    assert found == pytest.approx(by_metrics, abs=0.0051)
    if row[0] == "IMTL-G":  # printed -0.76, which its printed metrics do not give
        assert abs(found - published) > 0.1
    else:  # both the metrics and Δm are rounded to two digits
        assert found == pytest.approx(published, abs=0.015)
    found = metrics.delta_m(values, STL, HIGHER, convention="tasks")
    assert found == pytest.approx(by_tasks, abs=0.0051)


def test_all_sixteen_rows_are_there():
    assert len({row[0] for row in ROWS}) == 16


@pytest.mark.parametrize("convention", ["metrics", "tasks"])
def test_the_baseline_is_zero_and_order_does_not_matter(convention):
    assert str(metrics.delta_m(STL, STL, HIGHER, convention=convention)) == "0.0"
    values = table(*range(1, 10))
    turned = {t: dict(reversed(values[t].items())) for t in reversed(list(values))}
    expected = metrics.delta_m(values, STL, HIGHER, convention=convention)
    found = metrics.delta_m(turned, STL, HIGHER, convention=convention)
    assert found == pytest.approx(expected, rel=1e-12)


def test_a_negative_baseline_keeps_its_direction():
    better, worse, higher = (
        {"a": {"r2": -0.1}},
        {"a": {"r2": -0.2}},
        {"a": {"r2": True}},
    )
    found = metrics.delta_m(better, worse, higher, convention="tasks")
    assert found == pytest.approx(50.0)
    found = metrics.delta_m(better, worse, higher, convention="metrics")
    assert found == pytest.approx(-50.0)


def test_the_convention_has_no_default_and_is_explained():
    with pytest.raises(TypeError, match="convention"):
        metrics.delta_m(STL, STL, HIGHER)
    with pytest.raises(ValueError) as caught:
        metrics.delta_m(STL, STL, HIGHER, convention="metric")
    for text in ("'metric'", "'metrics'", "LOWER", "Nash-MTL", "'tasks'", "HIGHER"):
        assert text in str(caught.value)


def drop_task(values, baseline, higher):
    del values["depth"]


def drop_baseline_task(values, baseline, higher):
    del baseline["depth"]


def drop_metric(values, baseline, higher):
    del values["depth"]["rel"]


def extra_metric(values, baseline, higher):
    values["depth"]["rmse"] = 1.0


def zero(values, baseline, higher):
    baseline["depth"]["rel"] = 0.0


def nan(values, baseline, higher):
    values["depth"]["rel"] = float("nan")


def infinite(values, baseline, higher):
    baseline["depth"]["rel"] = float("inf")


def no_direction(values, baseline, higher):
    del higher["depth"]


def nothing(values, baseline, higher):
    values.clear()
    baseline.clear()


def no_metric(values, baseline, higher):
    values["depth"], baseline["depth"] = {}, {}


@pytest.mark.parametrize(
    "spoil, text",
    [
        (drop_task, "no task 'depth' in the values"),
        (drop_baseline_task, "no task 'depth' in the baseline"),
        (drop_metric, "no metric of task 'depth' 'rel' in the values"),
        (extra_metric, "no metric of task 'depth' 'rmse' in the baseline"),
        (zero, "the baseline of metric 'rel' of task 'depth' is 0"),
        (nan, "the value of metric 'rel' of task 'depth' is nan"),
        (infinite, "the baseline of metric 'rel' of task 'depth' is inf"),
        (no_direction, "higher_is_better does not say .* 'abs' of task 'depth'"),
        (nothing, "no task at all"),
        (no_metric, "no metric of task 'depth' at all"),
    ],
)
def test_wrong_tables_are_named(spoil, text):
    values, baseline, higher = map(copy.deepcopy, (STL, STL, HIGHER))
    spoil(values, baseline, higher)
    for convention in ("metrics", "tasks"):
        with pytest.raises(ValueError, match=text):
            metrics.delta_m(values, baseline, higher, convention=convention)
