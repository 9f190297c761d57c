"""Labels with gaps: padded tokens, empty columns, unmeasured pixels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

from mtl_jax import losses

SHAPE = (4, 3, 5)


def softmax(outputs, labels):
    logp = outputs - scipy.special.logsumexp(outputs, axis=-1, keepdims=True)
    return -np.take_along_axis(logp, np.maximum(labels, 0)[..., None], -1)[..., 0]


def sigmoid(outputs, labels):
    return np.where(labels == 1, np.log1p(np.exp(-outputs)), np.log1p(np.exp(outputs)))


def ordinal(outputs, labels):
    above = labels[..., None] > np.arange(outputs.shape[-1])
    return sigmoid(outputs, above * 1).sum(-1)


def poisson(outputs, labels):
    return -scipy.stats.poisson.logpmf(np.maximum(labels, 0), np.exp(outputs))


def huber(outputs, labels):
    return scipy.special.huber(0.5, outputs - labels)


INTEGER = {
    "softmax": (losses.softmax_cross_entropy(ignore=-1), softmax, 4, 4),
    "sigmoid": (losses.sigmoid_cross_entropy(ignore=-1), sigmoid, None, 2),
    "ordinal": (losses.ordinal(ignore=-1), ordinal, 3, 4),
    "poisson": (losses.poisson(ignore=-1), poisson, None, 9),
}
FLOATING = {
    "mse": (losses.mse(invalid=0.0), lambda o, y: (o - y) ** 2),
    "mae": (losses.mae(invalid=0.0), lambda o, y: np.abs(o - y)),
    "huber": (losses.huber(0.5, invalid=0.0), huber),
}
CASES = [*INTEGER, *FLOATING]


def case(name, shape=SHAPE):
    """A loss, outputs, labels with gaps, where there are labels, values by hand."""
    rng = np.random.default_rng(5)  # the same data whatever ran before
    if name in INTEGER:
        loss, formula, width, top = INTEGER[name]
        labels, none = rng.integers(0, top, shape), -1
    else:
        (loss, formula), width, none = FLOATING[name], None, 0.0
        labels = rng.normal(size=shape).astype(np.float32)
    outputs = rng.normal(size=(*shape, width) if width else shape).astype(np.float32)
    present = rng.uniform(size=shape) < 0.6
    present[0], present[1] = True, False  # an example without gaps, one without labels
    labels = np.where(present, labels, none)
    return loss, outputs, labels, present, formula(outputs.astype(np.float64), labels)


@pytest.mark.parametrize("name", CASES)
def test_the_loss_of_a_batch_is_the_mean_over_its_labels(name):
    loss, outputs, labels, present, each = case(name)
    values, weights = jax.jit(loss.per_example)(outputs, labels)
    assert values.shape == weights.shape == (4,)
    np.testing.assert_allclose(weights, present.mean((1, 2)), rtol=1e-6)
    expected = np.where(present, each, 0).mean((1, 2))
    np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-7)
    assert values[1] == weights[1] == 0
    total = values.sum() / weights.sum()
    assert total == pytest.approx(each[present].mean(), rel=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_a_gap_gives_no_gradient_whatever_its_output(name):
    loss, outputs, labels, present, _ = case(name)
    outputs[1, 0] = 1e4

    def total(outputs):
        values, weights = loss.per_example(outputs, labels)
        return values.sum() / weights.sum()

    grad = np.asarray(jax.jit(jax.grad(total))(outputs))
    assert np.isfinite(grad).all()
    np.testing.assert_array_equal(grad[~present], 0)
    assert (grad[present] != 0).all()


@pytest.mark.parametrize("name", INTEGER)
def test_without_gaps_nothing_changes(name):
    loss, outputs, labels, present, _ = case(name)
    plain = losses.make(loss.name)
    labels = np.where(present, labels, 1)
    for found, expected in zip(
        loss.per_example(outputs, labels),
        plain.per_example(outputs, labels),
        strict=True,
    ):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", INTEGER)
def test_another_negative_label_is_still_a_mistake(name):
    loss, outputs, labels, present, _ = case(name)
    labels[0, 0, 0] = -2
    values, weights = loss.per_example(outputs, labels)
    np.testing.assert_array_equal(np.isnan(values), [True, False, False, False])
    np.testing.assert_allclose(weights, present.mean((1, 2)), rtol=1e-6)
    with pytest.raises(ValueError, match=r"-2 at index \(0, 0, 0\)\. .*has to be -1"):
        loss.check_labels(labels, None, task="a", num_outputs=4)


@pytest.mark.parametrize("name", INTEGER)
def test_unsigned_labels_have_no_gaps(name):
    # -1 is 255 as an unsigned byte; a class, level or count of 255 is no gap.
    loss, _, width, _ = INTEGER[name]
    labels = np.array([0, 1, 1, 0], np.uint8)
    if name in ("softmax", "poisson"):
        labels[3] = 255
    outputs = np.zeros((4, 300) if name == "softmax" else (4, width) if width else 4)
    values, weights = loss.per_example(outputs.astype(np.float32), labels)
    np.testing.assert_array_equal(weights, np.ones(4))
    assert np.isfinite(values).all()


def test_class_weights_of_the_labelled_positions():
    loss = losses.softmax_cross_entropy([1.0, 3.0], 0.2, ignore=-1)
    plain = losses.softmax_cross_entropy([1.0, 3.0], 0.2)
    outputs = np.random.default_rng(5).normal(size=(1, 4, 2)).astype(np.float32)
    labels = np.array([[1, -1, 0, -1]])
    values, weights = loss.per_example(outputs, labels)
    expected = plain.per_example(outputs[:, [0, 2]], labels[:, [0, 2]])
    np.testing.assert_allclose(values, expected[0] / 2, rtol=1e-6)
    np.testing.assert_allclose(weights, expected[1] / 2, rtol=1e-6)


def test_soft_labels_may_have_gaps():
    loss = losses.sigmoid_cross_entropy(ignore=-1)
    labels = np.array([[0.25, -1.0]], np.float32)
    values, weights = loss.per_example(np.array([[0.3, 5.0]], np.float32), labels)
    p = scipy.special.expit(0.3)
    expected = -(0.25 * np.log(p) + 0.75 * np.log(1 - p)) / 2
    assert values[0] == pytest.approx(expected, rel=1e-6) and weights[0] == 0.5
    loss.check_labels(labels, None, task="a", num_outputs=2)


@pytest.mark.parametrize("name", ["softmax", "sigmoid", "ordinal"])
def test_hits_are_of_the_labelled_positions(name):
    loss, outputs, labels, present, _ = case(name)
    guess = {
        "softmax": outputs.argmax(-1),
        "sigmoid": outputs > 0,
        "ordinal": (outputs > 0).sum(-1),
    }[name]
    right = np.where(present, guess == labels, 0).sum((1, 2))
    expected = right / np.maximum(present.sum((1, 2)), 1)
    values, weights = loss.per_example(outputs, labels)
    found = losses.kpi_per_example(loss, outputs, labels, values, weights)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert expected[0] > 0


def test_indicator_of_the_measured_pixels():
    loss, outputs, labels, present, each = case("mae")
    values, weights = loss.per_example(outputs, labels)
    found = losses.kpi_per_example(loss, outputs, labels, values, weights)
    mean = np.where(present, each, 0).sum((1, 2)) / np.maximum(present.sum((1, 2)), 1)
    np.testing.assert_allclose(found, np.exp(-mean), rtol=1e-5)


def test_depth_maps_with_and_without_a_last_axis():
    loss, outputs, labels, _, _ = case("mae")
    for shape in ((*SHAPE, 1), SHAPE):
        for label_shape in ((*SHAPE, 1), SHAPE):
            if len(shape) < len(label_shape):
                continue
            found = loss.per_example(
                outputs.reshape(shape), labels.reshape(label_shape)
            )
            np.testing.assert_array_equal(found, loss.per_example(outputs, labels))


@pytest.mark.parametrize(
    "name, arguments",
    [
        ("softmax_cross_entropy", {"class_weights": [1, 2], "ignore": -1}),
        ("sigmoid_cross_entropy", {"label_smoothing": 0.1, "ignore": -1}),
        ("ordinal", {"ignore": -1}),
        ("poisson", {"full": True, "ignore": -1}),
        ("cosine", {}),
        ("mse", {"invalid": 0}),
        ("mae", {"invalid": 0}),
        ("huber", {"delta": 2, "invalid": 0}),
    ],
)
def test_equal_arguments_give_the_same_loss(name, arguments):
    first, again = losses.make(name, **arguments), losses.make(name, **arguments)
    assert all(a is b for a, b in zip(first[1:], again[1:], strict=True))
    arguments.pop("ignore", arguments.pop("invalid", None))
    other = losses.make(name, **arguments)
    assert (other.per_example is first.per_example) == (name == "cosine")


@pytest.mark.parametrize("ignore", [255, 0, True, -1.5, "-1"])
def test_a_class_cannot_be_ignored(ignore):
    for name in (
        "softmax_cross_entropy",
        "sigmoid_cross_entropy",
        "ordinal",
        "poisson",
    ):
        with pytest.raises(ValueError, match="ignore must be a negative integer") as e:
            losses.make(name, ignore=ignore)
        assert f"np.where(labels == {ignore!r}, -1" in str(e.value)


@pytest.mark.parametrize("invalid", [np.nan, np.inf])
def test_no_number_is_no_mark_of_a_missing_pixel(invalid):
    for name in ("mse", "mae", "huber"):
        with pytest.raises(ValueError, match="invalid must be a finite number") as e:
            losses.make(name, invalid=invalid)
        assert "np.isfinite(labels), labels, 0" in str(e.value)


SEGMENT = losses.softmax_cross_entropy()
NAN = np.nan


@pytest.mark.parametrize(
    "loss, labels, outputs, texts",
    [
        (SEGMENT, [[0, 255]], 3, ["255 at", "softmax_cross_entropy(ignore=-1)"]),
        (SEGMENT, [[0, -1]], 3, ["-1 at", "softmax_cross_entropy(ignore=-1)"]),
        (INTEGER["softmax"][0], [[0, 255]], 3, ["255 at", "has to be -1"]),
        (INTEGER["softmax"][0], [[1, -1], [2, 3]], 3, ["3 at", "subtract 1"]),
        (INTEGER["softmax"][0], [[-1, -1]], 3, ["no label at all", "is -1"]),
        (INTEGER["sigmoid"][0], [[0, -1, 2]], 3, ["2 at", "0 or 1", "1 of 3"]),
        (losses.sigmoid_cross_entropy(), [[0, -1]], 2, ["-1 at", "(ignore=-1)"]),
        (INTEGER["ordinal"][0], [0, -1, 4], 3, ["[0, 3]", "4 at index 2", "1 of 3"]),
        (INTEGER["poisson"][0], [[-1, 2.5, -3]], 3, ["at least 0", "-3.0 at"]),
        (losses.mae(), [[[1.0, NAN]]], 1, ["1 NaN", "write 0", "mae(invalid=0.0)"]),
        (losses.mse(0.0), [[[1.0, NAN]]], 1, ["1 NaN", "has to be 0.0"]),
        (losses.huber(1, 0.0), [[[0.0, 0.0]]], 1, ["no label at all", "is 0.0"]),
    ],
)
def test_wrong_labels_are_named(loss, labels, outputs, texts):
    with pytest.raises(ValueError) as caught:
        loss.check_labels(np.array(labels), None, task="age", num_outputs=outputs)
    for text in ["task 'age'", *texts]:
        assert text in str(caught.value)


@pytest.mark.parametrize("name", CASES)
def test_labels_with_gaps_pass(name):
    loss, _, labels, _, _ = case(name)
    loss.check_labels(labels, None, task="a", num_outputs=4)
    labels[2] = -7 if name in INTEGER else np.nan
    loss.check_labels(labels, np.array([1, 1, 0, 1], bool), task="a", num_outputs=4)


def test_gaps_under_vmap():
    loss, outputs, labels, _, _ = case("softmax")
    pair = np.stack([outputs, outputs[::-1]]), np.stack([labels, labels[::-1]])
    values, weights = jax.vmap(loss.per_example)(*map(jnp.asarray, pair))
    alone = loss.per_example(outputs, labels)
    np.testing.assert_allclose(values[1], alone[0][::-1], rtol=1e-6)
    np.testing.assert_array_equal(weights[0], alone[1])
