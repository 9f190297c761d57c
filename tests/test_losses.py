import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtl_jax import losses

RNG = np.random.default_rng(0)


def batch_loss(loss, outputs, labels, mask=None):
    values, weights = jax.jit(loss.per_example)(outputs, labels)
    mask = np.ones(len(values), bool) if mask is None else mask
    return jnp.where(mask, values, 0).sum() / jnp.where(mask, weights, 0).sum()


def log_softmax64(logits):
    logits = np.asarray(logits, np.float64)
    top = logits.max(-1, keepdims=True)
    return logits - top - np.log(np.exp(logits - top).sum(-1, keepdims=True))


def torch_cross_entropy(logits, labels, weight, smoothing):
    """torch.nn.CrossEntropyLoss(weight, label_smoothing=smoothing), by its loop."""
    logp = log_softmax64(logits)
    classes = logits.shape[-1]
    weight = np.ones(classes) if weight is None else np.asarray(weight, np.float64)
    total = bottom = 0.0
    for row, label in zip(logp.reshape(-1, classes), labels.reshape(-1), strict=True):
        target = np.full(classes, smoothing / classes)
        target[label] += 1 - smoothing
        total -= sum(weight[c] * target[c] * row[c] for c in range(classes))
        bottom += weight[label]
    return total / bottom


@pytest.mark.parametrize("shape", [(7,), (3, 4, 5)])
@pytest.mark.parametrize("weight", [None, [0.2, 3.0, 0.0, 1.5]])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_softmax_cross_entropy_is_torchs(shape, weight, smoothing):
    logits = RNG.normal(size=(*shape, 4)).astype(np.float32) * 3
    labels = RNG.integers(0, 4, shape)
    loss = losses.softmax_cross_entropy(weight, smoothing)
    expected = torch_cross_entropy(logits, labels, weight, smoothing)
    assert batch_loss(loss, logits, labels) == pytest.approx(expected, rel=1e-5)


def test_softmax_cross_entropy_numbers_of_torch():
    # Worked by hand: CrossEntropyLoss(weight=[1, 2], label_smoothing=0.2) on logits
    # (0, ln 3): p = (1/4, 3/4), label 0 -> (0.9 ln 4 + 0.1 * 2 ln(4/3)) / 1.
    loss = losses.softmax_cross_entropy([1.0, 2.0], 0.2)
    value = batch_loss(loss, np.log([[1.0, 3.0]]), np.array([0]))
    assert value == pytest.approx(0.9 * np.log(4) + 0.2 * np.log(4 / 3), rel=1e-6)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int8, np.int64])
def test_softmax_takes_any_integer_dtype(dtype):
    logits = RNG.normal(size=(4, 300)).astype(np.float32)
    labels = np.array([0, 1, 1, 0])
    loss = losses.softmax_cross_entropy()
    loss.check_labels(labels.astype(dtype), None, task="a", num_outputs=300)
    value = batch_loss(loss, logits, labels.astype(dtype))
    assert value == batch_loss(loss, logits, labels)


@pytest.mark.parametrize("weight", [None, [0.5, 4.0]])
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("column", [False, True])
def test_sigmoid_is_softmax_of_zero_and_the_logit(weight, smoothing, column):
    logits = RNG.normal(size=9).astype(np.float32) * 4
    labels = RNG.integers(0, 2, 9)
    pair = np.stack([np.zeros_like(logits), logits], -1)
    expected = torch_cross_entropy(pair, labels, weight, smoothing)
    outputs = logits[:, None] if column else logits
    loss = losses.sigmoid_cross_entropy(weight, smoothing)
    assert batch_loss(loss, outputs, labels) == pytest.approx(expected, rel=1e-5)


def test_sigmoid_multi_label_and_soft_labels():
    logits = RNG.normal(size=(6, 3)).astype(np.float32)
    labels = RNG.uniform(size=(6, 3))
    p = 1 / (1 + np.exp(-logits.astype(np.float64)))
    each = -2 * labels * np.log(p) - 0.5 * (1 - labels) * np.log(1 - p)
    expected = each.sum() / (2 * labels + 0.5 * (1 - labels)).sum()
    loss = losses.sigmoid_cross_entropy((0.5, 2.0))
    assert batch_loss(loss, logits, labels) == pytest.approx(expected, rel=1e-5)


def huber64(error, delta):
    size = np.abs(error)
    return np.where(size <= delta, error**2 / 2, delta * (size - delta / 2))


@pytest.mark.parametrize(
    "loss, formula",
    [
        (losses.mse(), lambda e: e**2),
        (losses.mae(), np.abs),
        (losses.huber(), lambda e: huber64(e, 1.0)),
        (losses.huber(0.3), lambda e: huber64(e, 0.3)),
    ],
    ids=["mse", "mae", "huber", "huber-0.3"],
)
@pytest.mark.parametrize("labels_shape", [(5,), (5, 3), (5, 2, 3)])
@pytest.mark.parametrize("column", [False, True])
def test_regression_losses(loss, formula, labels_shape, column):
    outputs = RNG.normal(size=labels_shape).astype(np.float32) * 2
    labels = RNG.normal(size=labels_shape)
    expected = formula(outputs.astype(np.float64) - labels).reshape(5, -1).mean(1)
    values, weights = loss.per_example(
        outputs[..., None] if column else outputs, labels
    )
    np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-6)
    assert values.shape == (5,)
    np.testing.assert_array_equal(weights, np.ones(5))


CASES = {
    "softmax_cross_entropy": (losses.softmax_cross_entropy([1, 2, 3], 0.1), (4, 3), 1),
    "sigmoid_cross_entropy": (losses.sigmoid_cross_entropy((1, 2), 0.1), (4, 1), 1.0),
    "mse": (losses.mse(), (4, 1), 0.7),
    "mae": (losses.mae(), (4, 1), 0.7),
    "huber": (losses.huber(), (4, 1), 0.7),
    "poisson": (losses.poisson(full=True), (4, 1), 2.0),
    "ordinal": (losses.ordinal(), (4, 3), 1),
    "cosine": (losses.cosine(), (4, 3), (0.6, 0.8, 0.1)),
}
BAD = {
    "softmax_cross_entropy": [-1, 3, 255],
    "ordinal": [-1, 4, 255],
    "poisson": [-1.0, np.nan, np.inf],
    "cosine": [np.nan, np.inf],
}


def labels_of(good, mask, bad):
    """Good labels, and bad ones where masked, of the dtype of the bad."""
    good = np.broadcast_to(good, (4, *np.shape(good)))
    mask = np.reshape(mask, (4,) + (1,) * (good.ndim - 1))
    return np.where(mask, good, bad).astype(np.asarray(bad).dtype)


def test_cases_cover_every_loss():
    assert set(CASES) == set(losses.LOSSES)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("sanitise", [False, True])
def test_masked_labels_poison_neither_value_nor_gradient(name, sanitise):
    loss, shape, good = CASES[name]
    outputs = RNG.normal(size=shape).astype(np.float32)
    mask = np.array([True, False, True, False])
    clean = labels_of(good, [True] * 4, np.asarray(good).flat[0])
    for bad in BAD.get(name, [np.nan, -1.0, np.inf]):
        dirty = labels_of(good, mask, bad)

        def total(outputs, labels):
            if sanitise:
                labels = losses.safe_labels(labels, mask)
            return batch_loss(loss, outputs, labels, mask)

        value, grad = jax.value_and_grad(total)(outputs, dirty)
        expected, expected_grad = jax.value_and_grad(total)(outputs, clean)
        assert np.isfinite(expected) and value == expected
        np.testing.assert_array_equal(grad, expected_grad)
        assert (np.asarray(grad)[mask] != 0).all() and not np.asarray(grad)[~mask].any()


@pytest.mark.parametrize("name", CASES)
def test_a_present_label_that_is_none_gives_nan(name):
    loss, shape, good = CASES[name]
    for bad in BAD.get(name, [np.nan]):
        labels = labels_of(good, [True, True, True, False], bad)
        values, weights = loss.per_example(jnp.zeros(shape), labels)
        np.testing.assert_array_equal(np.isnan(values), [False, False, False, True])
        assert np.isfinite(weights).all()


@pytest.mark.parametrize("name", CASES)
def test_float32_from_bfloat16_outputs(name):
    loss, shape, good = CASES[name]
    outputs = jnp.asarray(RNG.normal(size=shape), jnp.bfloat16)
    labels = np.array([good] * 4)
    values, weights = loss.per_example(outputs, labels)
    expected, _ = loss.per_example(outputs.astype(jnp.float32), labels)
    assert values.dtype == weights.dtype == jnp.float32
    np.testing.assert_array_equal(values, expected)
    grad = jax.grad(lambda o: loss.per_example(o, labels)[0].sum())(outputs)
    assert grad.dtype == jnp.bfloat16


def test_extreme_logits_stay_finite():
    big = np.array([[300.0], [-300.0]], np.float32)
    for loss, outputs in (
        (losses.sigmoid_cross_entropy((1, 2), 0.1), big),
        (losses.softmax_cross_entropy([1, 2], 0.1), np.concatenate([big, -big], 1)),
    ):
        labels = np.array([0, 0])
        value, grad = jax.value_and_grad(lambda o: batch_loss(loss, o, labels))(outputs)  # noqa: B023
        assert np.isfinite(value) and np.isfinite(grad).all()


def test_safe_labels():
    mask = np.array([True, False])
    labels = losses.safe_labels(np.array([[3, 4], [-1, 9]], np.int8), mask)
    assert labels.dtype == jnp.int8 and labels.tolist() == [[3, 4], [0, 0]]
    assert losses.safe_labels(np.array([True, True]), mask).tolist() == [True, False]
    assert losses.safe_labels(np.array([1, -1]), None).tolist() == [1, -1]


SOFTMAX, SIGMOID = losses.softmax_cross_entropy(), losses.sigmoid_cross_entropy()
NAN = np.nan


@pytest.mark.parametrize(
    "loss, labels, mask, outputs, texts",
    [
        (SOFTMAX, [0, 1, 3], None, 3, ["[0, 3)", "3 at index 2", "1 of 3", "mask"]),
        (SOFTMAX, [1, 2, 3], None, 3, ["3 at index 2", "subtract 1"]),
        (SOFTMAX, [0, -1, -1], [1, 1, 0], 3, ["-1 at index 1", "1 of 3"]),
        (SOFTMAX, [[0, 1], [1, 7]], None, 3, ["7 at index (1, 1)"]),
        (SOFTMAX, [0.0, 1.0], None, 3, ["float64", "astype(np.int32)"]),
        (SOFTMAX, ["cat", "dog"], None, 3, ["<U3", "integer class labels"]),
        (SOFTMAX, 3, None, 3, ["one number"]),
        (SIGMOID, [0, 1, 2], None, 1, ["0 or 1", "2 at index 2", "softmax"]),
        (SIGMOID, [1, -1, 1], None, 1, ["-1 at index 1", "-1/+1"]),
        (SIGMOID, [0.5, 1.5], None, 1, ["[0, 1]", "1.5 at index 1"]),
        (SIGMOID, [0.5, NAN], None, 1, ["1 NaN", "index 1"]),
        (losses.mse(), [0.5, NAN, NAN], None, 1, ["2 of 3", "2 NaN", "1", "mask"]),
        (losses.mae(), [np.inf, 1.0], None, 1, ["inf at index 0"]),
        (losses.mae(), [1 + 1j], None, 1, ["complex128", "numeric"]),
        (losses.huber(), ["1.0"], None, 1, ["numeric", "astype(np.float32)"]),
        (losses.mse(), [], None, 1, ["no examples", "(0,)"]),
        (losses.mse(), [1.0, 2.0], [0, 0], 1, ["no label at all", "all 2 examples"]),
        (losses.mse(), [1.0, 2.0], [1], 1, ["mask must be bool", "(2,)", "(1,)"]),
    ],
)
def test_wrong_labels_are_named(loss, labels, mask, outputs, texts):
    mask = None if mask is None else np.array(mask, bool)
    with pytest.raises(ValueError) as caught:
        loss.check_labels(np.array(labels), mask, task="age", num_outputs=outputs)
    for text in ["task 'age'", *texts]:
        assert text in str(caught.value)


def test_a_mask_that_is_not_bool_is_refused():
    with pytest.raises(ValueError, match=r"must be bool .* int64"):
        losses.mse().check_labels(np.ones(2), np.array([1, 0]), task="a", num_outputs=1)


@pytest.mark.parametrize(
    "loss, labels, mask, outputs",
    [
        (SOFTMAX, [0, 2], None, 3),
        (SOFTMAX, [0, 9], None, None),
        (SOFTMAX, [[0, 2]], None, 3),
        (SOFTMAX, [True, False], None, 2),
        (SOFTMAX, [0, -1], [1, 0], 3),
        (SIGMOID, [0, 1], None, 1),
        (SIGMOID, [[False, True]], None, 2),
        (SIGMOID, [0.2, NAN], [1, 0], 1),
        (losses.mse(), [1, 2], None, 1),
        (losses.mse(), [1.0, NAN], [1, 0], None),
        (losses.mse(), jnp.ones(2, jnp.bfloat16), None, 1),
    ],
)
def test_right_labels_pass(loss, labels, mask, outputs):
    mask = None if mask is None else np.array(mask, bool)
    loss.check_labels(np.array(labels), mask, task="age", num_outputs=outputs)


@pytest.mark.parametrize(
    "loss, output, label, fix",
    [
        (SOFTMAX, (8, 1), (8,), "at least 2 classes: use sigmoid_cross_entropy"),
        (SOFTMAX, (8,), (8,), "at least 2 classes: use sigmoid_cross_entropy"),
        (SOFTMAX, (8, 5, 1), (8, 5), "at least 2 classes"),
        (SOFTMAX, (8, 10), (8, 10), "labels.argmax(-1)"),
        (SOFTMAX, (8, 10), (8, 1), "labels.squeeze(-1)"),
        (SOFTMAX, (8, 10), (4,), "the shape of the labels and a last axis [C]"),
        (losses.softmax_cross_entropy([1, 2]), (8, 3), (8,), "each of the 3 classes"),
        (SIGMOID, (8, 10), (8,), "1 output instead of 10. For exclusive classes use"),
        (SIGMOID, (8, 10), (8, 4), "4 outputs instead of 10"),
        (losses.mse(), (8, 2), (8,), "1 output instead of 2"),
        (losses.mse(), (8,), (8, 1), "labels.squeeze(-1)"),
        (losses.mae(), (8, 2), (8, 3), "3 outputs instead of 2"),
        (losses.huber(), (8, 1), (4,), "the same number of examples"),
        (losses.huber(), (8, 2, 2), (8,), "must have the shape of the labels"),
    ],
)
def test_wrong_outputs_are_named(loss, output, label, fix):
    with pytest.raises(ValueError) as caught:
        loss.check_outputs(output, label, task="age")
    for text in ("task 'age'", repr(loss.name), str(output), str(label), fix):
        assert text in str(caught.value)
    labels = np.zeros(label, int)
    with pytest.raises(ValueError) as caught:  # nor does a silent broadcast get by
        jax.jit(loss.per_example)(jnp.zeros(output), labels)
    assert fix in str(caught.value)


@pytest.mark.parametrize(
    "loss, output, label",
    [
        (SOFTMAX, (8, 2), (8,)),
        (SOFTMAX, (8, 5, 6, 3), (8, 5, 6)),
        (SIGMOID, (8, 1), (8,)),
        (SIGMOID, (8,), (8,)),
        (SIGMOID, (8, 4), (8, 4)),
        (losses.mse(), (8, 1), (8,)),
        (losses.mse(), (8, 3), (8, 3)),
        (losses.mse(), (8, 1), (8, 1)),
    ],
)
def test_right_outputs_pass(loss, output, label):
    loss.check_outputs(output, label, task="age")


def test_float_class_labels_are_refused_while_tracing():
    with pytest.raises(ValueError, match="integer class labels, but they are float"):
        SOFTMAX.per_example(jnp.zeros((2, 3)), jnp.zeros(2))


@pytest.mark.parametrize(
    "name, hyper, text",
    [
        ("mes", {}, "unknown loss 'mes'. Did you mean 'mse'"),
        ("huber", {"dleta": 1}, "hyper-parameter of loss 'huber' 'dleta'.*delta"),
        ("mse", {"delta": 1}, "Known: invalid"),
        ("cosine", {"delta": 1}, "Known: \\(none\\)"),
        ("huber", {"delta": 0}, "delta must be above 0, but is 0"),
        ("softmax_cross_entropy", {"label_smoothing": 1.0}, r"\[0, 1\), but is 1.0"),
        ("sigmoid_cross_entropy", {"label_smoothing": -0.1}, "but is -0.1"),
        ("softmax_cross_entropy", {"class_weights": [1, -1]}, "non-negative"),
        ("softmax_cross_entropy", {"class_weights": [0, 0]}, "not all zero"),
        ("sigmoid_cross_entropy", {"class_weights": [1, 1, 1]}, "the pair"),
    ],
)
def test_wrong_hyper_parameters_are_named(name, hyper, text):
    with pytest.raises(ValueError, match=text):
        losses.make(name, **hyper)


def test_make_gives_the_loss_of_that_name():
    assert {name: losses.make(name).name for name in losses.LOSSES} == {
        name: name for name in losses.LOSSES
    }
