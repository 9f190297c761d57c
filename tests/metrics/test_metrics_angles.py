import numpy as np
import pytest
import splits

from mtl_jax import metrics

N = 12
JUNK = (np.nan, np.nan)


def normals(shape=(N, 6, 5, 3)):
    rng = np.random.default_rng(13)
    labels = rng.normal(size=shape).astype(np.float32)
    outputs = (labels + 0.7 * rng.normal(size=shape)).astype(np.float32)
    outputs[1:4] = -outputs[1:4]
    labels[rng.uniform(size=shape[:-1]) < 0.3] = 0
    labels[0] = 0
    mask = np.arange(N) % 4 != 2
    here = (mask.reshape(-1, *[1] * (len(shape) - 2))) & labels.any(-1)
    u, v = outputs[here].astype(np.float64), labels[here].astype(np.float64)
    cosine = (u * v).sum(-1) / np.linalg.norm(u, axis=-1) / np.linalg.norm(v, axis=-1)
    return (outputs, labels, mask), np.rad2deg(np.arccos(cosine))


@pytest.mark.parametrize("cuts", splits.CUTS)
@pytest.mark.parametrize("shape", [(N, 6, 5, 3), (N, 3), (N, 40, 2)])
def test_angles_by_the_arc_cosine(cuts, shape):
    arrays, angles = normals(shape)
    assert angles.min() < 30 and angles.max() > 120
    found = splits.value(metrics.angular_error(), *arrays, cuts=cuts, junk=JUNK)
    assert found == pytest.approx(angles.mean(), rel=1e-5)
    found = splits.value(metrics.angular_median(), *arrays, cuts=cuts, junk=JUNK)
    assert found == pytest.approx(np.median(angles), abs=0.00101)
    for degrees in (11.25, 22.5, 30, 150):
        metric = metrics.angular_within(degrees)
        found = splits.value(metric, *arrays, cuts=cuts, junk=JUNK)
        assert found == pytest.approx((angles < degrees).mean(), abs=1e-12)


@pytest.mark.parametrize("degrees", [1e-4, 0.01, 1, 90, 179, 179.99])
def test_small_and_straight_angles_keep_their_digits(degrees):
    angle = np.deg2rad(degrees)
    outputs = np.array([[np.sin(angle), 0, np.cos(angle)]], np.float32)
    labels = np.array([[0, 0, 1]], np.float32)
    for scale in (1, 1e-30, 1e30):
        found = splits.value(metrics.angular_error(), outputs * scale, labels, [True])
        assert found == pytest.approx(degrees, rel=2e-5)


def test_a_zero_output_is_a_right_angle():
    labels = np.array([[0, 0, 2.0]], np.float32)
    found = splits.value(metrics.angular_error(), np.zeros_like(labels), labels, [True])
    assert found == 90


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_medians_of_few_and_of_equal_angles(n):
    degrees = np.array([10, 10, 80, 100])[:n]
    outputs = np.stack([np.sin(np.deg2rad(degrees)), np.cos(np.deg2rad(degrees))], 1)
    labels = np.tile([0.0, 1.0], (n, 1)).astype(np.float32)
    arrays = outputs.astype(np.float32), labels, np.ones(n, bool)
    found = splits.value(metrics.angular_median(), *arrays, junk=JUNK)
    assert found == pytest.approx(np.median(degrees), abs=0.0011)


def test_the_ends_of_the_scale():
    labels = np.tile([0.0, 1.0], (4, 1)).astype(np.float32)
    for sign, expected in ((1, 0), (-1, 180)):
        arrays = sign * labels, labels, np.ones(4, bool)
        found = splits.value(metrics.angular_median(), *arrays, junk=JUNK)
        assert found == pytest.approx(expected, abs=0.0011)


def test_nothing_seen_and_what_is_no_number():
    labels, mask = np.zeros((4, 3), np.float32), np.ones(4, bool)
    every = (
        metrics.angular_error(),
        metrics.angular_median(),
        metrics.angular_within(30),
    )
    for metric in every:
        assert np.isnan(splits.value(metric, labels + 1, labels, mask))
    broken = np.ones((4, 3), np.float32)
    broken[2] = np.nan
    for metric in every[:2]:
        assert np.isnan(splits.value(metric, broken, labels + 1, mask))
    assert splits.value(every[2], broken, labels + 1, mask) == 0.75
    # Where there is no label, an output may be anything.
    labels[0] = 1
    for metric, best in zip(every, (0, 0, 1), strict=True):
        found = splits.value(metric, broken, labels, mask)
        assert found == pytest.approx(best, abs=0.03)


def test_a_state_is_small():
    (outputs, labels, mask), _ = normals()
    (state,) = splits.states(metrics.angular_median(), outputs, labels, mask, junk=JUNK)
    assert state["bins"].nbytes < 400_000


def test_wrong_use_is_explained():
    with pytest.raises(ValueError, match=r"\(2, 4, 3\) and \(2, 4, 2\)"):
        metrics.angular_error().update(np.ones((2, 4, 3)), np.ones((2, 4, 2)), [1, 1])
    for degrees in (0, -3, 180, np.nan):
        with pytest.raises(ValueError, match="must lie between 0 and 180"):
            metrics.angular_within(degrees)
