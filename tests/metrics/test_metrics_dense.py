import numpy as np
import pytest
import sklearn.metrics as sk
import splits

from mtl_jax import metrics

N = 12
SHAPE = (N, 5, 4)


def pixels(classes=6, absent=(4, 5)):
    """Classes 4 and 5 are in no label; 4 is predicted, 5 is not."""
    rng = np.random.default_rng(11)
    outputs = rng.normal(size=(*SHAPE, classes)).astype(np.float32)
    labels = rng.integers(0, 4, SHAPE)
    outputs[..., 5] = -99
    labels[rng.uniform(size=SHAPE) < 0.3] = -1
    labels[0] = -1  # an image without any label
    mask = np.arange(N) % 4 != 2
    here = mask[:, None, None] & (labels >= 0)
    guess = outputs.argmax(-1)
    assert 4 in guess[here] and 4 not in labels[here] and 5 not in guess[here]
    return (outputs, labels, mask), labels[here], guess[here]


@pytest.mark.parametrize("cuts", splits.CUTS)
def test_mean_iou_is_the_jaccard_score_of_the_classes_that_occur(cuts):
    arrays, truth, guess = pixels()
    expected = sk.jaccard_score(truth, guess, average="macro", zero_division=0)
    found = splits.value(metrics.mean_iou(), *arrays, cuts=cuts)
    assert found == pytest.approx(expected, abs=1e-12)
    present = sk.jaccard_score(truth, guess, average="macro", labels=range(4))
    assert found < present  # the class that is only predicted counts as 0


def test_iou_is_of_the_whole_split_and_not_a_mean_over_images():
    logits = np.zeros((2, 1, 4, 2), np.float32)
    logits[..., 1] = [[[1, 1, -1, -1]], [[-1, -1, -1, -1]]]
    labels = np.array([[[1, 1, 0, 0]], [[1, 1, 0, -1]]])
    mask = np.ones(2, bool)
    expected = ((3 / 5) + (2 / 4)) / 2
    found = splits.value(metrics.mean_iou(), logits, labels, mask)
    assert found == pytest.approx(expected, abs=1e-12)


def test_iou_of_a_binary_mask_has_two_classes():
    logits = np.array([[[2.0, -1.0, 3.0]]], np.float32)
    labels, mask = np.array([[[1, 0, 0]]]), np.ones(1, bool)
    for outputs in (logits, logits[..., None]):
        found = splits.value(metrics.mean_iou(), outputs, labels, mask)
        assert found == pytest.approx((1 / 2 + 1 / 2) / 2)


@pytest.mark.parametrize("name", ["pixel_accuracy", "token_accuracy"])
@pytest.mark.parametrize("cuts", splits.CUTS)
def test_accuracy_of_the_labelled_positions(name, cuts):
    (outputs, labels, mask), truth, guess = pixels()
    if name == "token_accuracy":
        outputs, labels = outputs.reshape(N, 20, 6), labels.reshape(N, 20)
    found = splits.value(metrics.make(name), outputs, labels, mask, cuts=cuts)
    assert found == pytest.approx(sk.accuracy_score(truth, guess), abs=1e-12)


def test_f1_leaves_out_the_same_positions():
    arrays, truth, guess = pixels()
    expected = sk.f1_score(truth, guess, average="macro", zero_division=0)
    found = splits.value(metrics.f1(), *arrays, cuts=(5,))
    assert found == pytest.approx(expected, abs=1e-12)


def test_no_labelled_pixel_is_nan():
    outputs, labels = np.ones((2, 2, 2, 3), np.float32), np.full((2, 2, 2), -1)
    for name in ("mean_iou", "pixel_accuracy", "token_accuracy"):
        assert np.isnan(splits.value(metrics.make(name), outputs, labels, [1, 1]))


def depths():
    rng = np.random.default_rng(12)
    labels = rng.uniform(0.5, 10, SHAPE).astype(np.float32)
    outputs = (labels + rng.normal(size=SHAPE)).astype(np.float32)
    labels[rng.uniform(size=SHAPE) < 0.4] = 0
    labels[0] = 0
    mask = np.arange(N) % 4 != 2
    here = mask[:, None, None] & (labels > 0)
    return (
        outputs,
        labels,
        mask,
        outputs[here].astype(float),
        labels[here].astype(float),
    )


@pytest.mark.parametrize("cuts", splits.CUTS)
def test_depth_errors_of_the_measured_pixels(cuts):
    outputs, labels, mask, guess, truth = depths()
    expected = {
        "abs_error": sk.mean_absolute_error(truth, guess),
        "rel_error": np.mean(np.abs(guess - truth) / truth),
    }
    for name, value in expected.items():
        for last in ((), (1,)):
            for label_last in ((), (1,))[: len(last) + 1]:
                found = splits.value(
                    metrics.make(name),
                    outputs.reshape(*SHAPE, *last),
                    labels.reshape(*SHAPE, *label_last),
                    mask,
                    cuts=cuts,
                    junk=(1e30, np.nan),
                )
                assert found == pytest.approx(value, rel=1e-5)


def test_another_mark_of_unmeasured_pixels():
    outputs, labels = np.full((1, 3), 4.0, np.float32), np.array([[-1.0, 2.0, 5.0]])
    assert splits.value(metrics.abs_error(-1.0), outputs, labels, [True]) == 1.5
    found = splits.value(metrics.rel_error(-1.0), outputs, labels, [True])
    assert found == pytest.approx(0.6)
    # Depths in millimetres, as sensors write them.
    whole = np.array([[0, 2, 5]], np.uint16)
    assert splits.value(metrics.abs_error(), outputs, whole, [True], junk=(0, 0)) == 1.5


def test_a_million_pixels_a_batch_keep_their_digits():
    labels = np.full((2, 1000, 1000), 20.3, np.float32)
    state = metrics.abs_error().update(labels * 0, labels, np.ones(2, bool))
    found = metrics.evaluate(metrics.abs_error(), [state] * 3)["abs_error"]
    assert found == pytest.approx(20.3, rel=1e-6)


def test_depths_that_do_not_fit_are_explained():
    with pytest.raises(ValueError, match=r"abs_error: .*\(2, 3, 3\) .*\(2, 3\)\. Give"):
        metrics.abs_error().update(np.ones((2, 3, 3)), np.ones((2, 3)), np.ones(2))
    outputs, labels = np.ones((2, 3), np.float32), np.zeros((2, 3), np.float32)
    assert np.isnan(splits.value(metrics.abs_error(), outputs, labels, [1, 1]))
