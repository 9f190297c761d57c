import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

from mtl_jax import losses

RNG = np.random.default_rng(6)


@pytest.mark.parametrize("shape", [(40,), (40, 2)])
def test_poisson_is_the_likelihood_of_scipy(shape):
    rates = RNG.normal(size=shape).astype(np.float32) * 2
    counts = RNG.poisson(np.exp(rates + 0.3))
    assert counts.min() == 0 and counts.max() > 20
    each = -scipy.stats.poisson.logpmf(counts, np.exp(rates.astype(np.float64)))
    each = each.reshape(40, -1).mean(1)
    values, weights = losses.poisson().per_example(rates, counts)
    np.testing.assert_allclose(values, each, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(weights, np.ones(40))
    constant = scipy.special.gammaln(counts + 1).reshape(40, -1).mean(1)
    values, _ = losses.poisson(full=False).per_example(rates, counts)
    np.testing.assert_allclose(values, each - constant, rtol=1e-4, atol=1e-4)


def test_the_poisson_gradient_is_rate_minus_count():
    rates, counts = RNG.normal(size=9).astype(np.float32), RNG.integers(0, 9, 9)
    grad = jax.grad(lambda o: losses.poisson().per_example(o, counts)[0].sum())(rates)
    np.testing.assert_allclose(grad, np.exp(rates) - counts, rtol=1e-5, atol=1e-5)


def test_wild_log_rates_have_a_finite_loss_and_gradient():
    wild = np.array([31.0, 90.0, 1e4, -1e4], np.float32)
    counts = np.array([0, 3, 1_000_000, 5])

    def total(outputs):
        return losses.poisson().per_example(outputs, counts)[0].sum()

    value, grad = jax.value_and_grad(total)(wild)
    assert np.isfinite(value) and np.isfinite(grad).all()
    # The tangent at 30, and the exact gradient where nothing is wild.
    np.testing.assert_allclose(grad[:3], np.exp(30.0) - counts[:3], rtol=1e-5)
    assert grad[3] == -5
    # Below 30 it is the exponential.
    high = np.array([29.5, 29.5, 29.5, 29.5], np.float32)
    np.testing.assert_allclose(jax.grad(total)(high) + counts, np.exp(29.5), rtol=1e-5)


def test_a_masked_wild_log_rate_does_no_harm():
    mask, counts = np.array([True, False]), np.array([2, 0])

    def total(outputs):
        values, _ = losses.poisson().per_example(outputs, counts)
        return jnp.where(mask, values, 0).sum()

    grad = jax.grad(total)(np.array([0.0, 500.0], np.float32))
    np.testing.assert_allclose(grad, [-1, 0])


def test_the_indicator_of_counts_is_the_likelihood_ratio():
    rates = np.array([0.0, 1.0, 3.0, 0.5], np.float32)
    counts, loss = np.array([0, 3, 20, 0]), losses.poisson(full=False)
    likelihood = scipy.stats.poisson.pmf(counts, np.exp(rates.astype(float)))
    largest = scipy.stats.poisson.pmf(counts, counts)
    values, weights = loss.per_example(rates, counts)
    assert values[2] < 0  # exp(-loss) would tell nothing
    found = losses.kpi_per_example(loss, rates, counts, values, weights)
    np.testing.assert_allclose(found, likelihood / largest, rtol=1e-4)


def test_ordinal_is_the_sum_of_yes_or_no_questions():
    logits = RNG.normal(size=(12, 4)).astype(np.float32) * 2
    levels = np.arange(12) % 5
    expected = np.zeros(12)
    for i, level in enumerate(levels):
        for k in range(4):
            p = scipy.special.expit(float(logits[i, k]))
            expected[i] -= np.log(p) if level > k else np.log(1 - p)
    values, weights = jax.jit(losses.ordinal().per_example)(logits, levels)
    np.testing.assert_allclose(values, expected, rtol=1e-5)
    np.testing.assert_array_equal(weights, np.ones(12))


def test_two_levels_are_a_yes_or_no_question():
    logits = RNG.normal(size=(8, 1)).astype(np.float32)
    levels = np.arange(8) % 2
    found, _ = losses.ordinal().per_example(logits, levels)
    expected, _ = losses.sigmoid_cross_entropy().per_example(logits, levels)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_a_level_further_off_costs_more():
    logits = jnp.full((5, 4), -3.0)  # level 0
    values, _ = losses.ordinal().per_example(logits, jnp.arange(5))
    assert (np.diff(values) > 2.9).all()


def cosine64(outputs, labels):
    outputs, labels = outputs.astype(np.float64), labels.astype(np.float64)
    norms = np.linalg.norm(outputs, axis=-1) * np.linalg.norm(labels, axis=-1)
    return 1 - (outputs * labels).sum(-1) / np.where(norms > 0, norms, 1)


@pytest.mark.parametrize("shape", [(6, 3), (6, 4, 5, 3), (6, 2)])
def test_cosine_of_the_labelled_pixels(shape):
    outputs = RNG.normal(size=shape).astype(np.float32)
    labels = RNG.normal(size=shape).astype(np.float32) * 3  # of any length
    present = RNG.uniform(size=shape[:-1]) < 0.7
    present[0] = False
    labels[~present] = 0
    each = np.where(present, cosine64(outputs, labels), 0)
    loss = losses.cosine()
    loss.check_labels(labels, None, task="n", num_outputs=shape[-1])
    values, weights = jax.jit(loss.per_example)(outputs, labels)
    np.testing.assert_allclose(values, each.reshape(6, -1).mean(1), atol=1e-6)
    expected = present.reshape(6, -1).mean(1)
    np.testing.assert_allclose(weights, expected, rtol=1e-6)
    again, _ = loss.per_example(outputs * 1e8, labels)
    np.testing.assert_allclose(again, values, atol=1e-6)


def test_cosine_gradients_are_finite_everywhere():
    labels = np.zeros((6, 3), np.float32)
    labels[:5, 2] = 1
    outputs = np.array(
        [[0, 0, 0], [1e-20, 0, 0], [0, 0, -1e15], [0, 0, 5], [1, 2, 3], [0, 0, 0]]
    )

    def total(outputs):
        return losses.cosine().per_example(outputs, labels)[0].sum()

    value, grad = jax.value_and_grad(total)(outputs.astype(np.float32))
    assert np.isfinite(value) and np.isfinite(grad).all()
    # A zero output is led along its label, no faster than by the floor of the length;
    # a pixel without a label not at all.
    np.testing.assert_allclose(grad[0], [0, 0, -1000], rtol=1e-5)
    np.testing.assert_array_equal(grad[5], 0)
    o, v = outputs[4], np.sqrt(14)
    exact = -(np.array([0, 0, 1]) / v - 3 * o / v**3)
    np.testing.assert_allclose(grad[4], exact, rtol=1e-5)


def test_a_vector_that_is_no_number_gives_nan():
    labels = np.array([[0, 0, 1], [0, np.nan, 1]], np.float32)
    values, weights = losses.cosine().per_example(np.ones((2, 3), np.float32), labels)
    np.testing.assert_array_equal(np.isnan(values), [False, True])
    np.testing.assert_array_equal(weights, [1, 1])


COSINE = losses.cosine()
GOOD = np.tile(np.float32([0, 0, 1]), (2, 4, 1))


@pytest.mark.parametrize(
    "loss, labels, outputs, texts",
    [
        (COSINE, np.zeros((2, 4, 3), np.uint8), 3, ["uint8", "labels / 127.5 - 1"]),
        (COSINE, GOOD * 0, 3, ["no label at all"]),
        (COSINE, GOOD * np.nan, 3, ["24 NaN", "zero vector"]),
        (COSINE, GOOD[..., :2], 3, ["[B, ..., 3]", "(2, 4, 2)"]),
        (COSINE, np.ones(4), None, ["[B, ..., D]", "(4,)"]),
        (losses.ordinal(), np.array([1, 2, 4]), 3, ["4 at index 2", "subtract 1"]),
        (losses.ordinal(), np.array([0, 4]), 3, ["3 logits", "[0, 3]", "4 at index 1"]),
        (losses.ordinal(), np.array([-1, 4]), None, ["at least 0", "1 of 2"]),
        (losses.ordinal(), np.array([1.0]), 3, ["integer", "float64"]),
        (
            losses.poisson(),
            np.array([3, -2]),
            1,
            ["-2 at index 1", "at least 0", "mse"],
        ),
        (losses.poisson(), np.array([np.nan]), 1, ["1 NaN"]),
    ],
)
def test_wrong_labels_are_named(loss, labels, outputs, texts):
    with pytest.raises(ValueError) as caught:
        loss.check_labels(labels, None, task="age", num_outputs=outputs)
    for text in ["task 'age'", *texts]:
        assert text in str(caught.value)


@pytest.mark.parametrize(
    "loss, output, label, fix",
    [
        (COSINE, (8, 4, 4, 2), (8, 4, 4, 3), "3 outputs instead of 2"),
        (COSINE, (8, 4, 4, 3), (8, 4, 4), "the same shape"),
        (COSINE, (8,), (8,), "a last axis"),
        (losses.ordinal(), (8, 4), (8, 1), "labels.squeeze(-1)"),
        (losses.ordinal(), (8,), (8,), "a last axis [K - 1]"),
        (losses.poisson(), (8, 2), (8,), "1 output instead of 2"),
    ],
)
def test_wrong_outputs_are_named(loss, output, label, fix):
    with pytest.raises(ValueError) as caught:
        loss.check_outputs(output, label, task="age")
    for text in ("task 'age'", repr(loss.name), str(output), str(label), fix):
        assert text in str(caught.value)
    with pytest.raises(ValueError):
        jax.jit(loss.per_example)(jnp.zeros(output), np.zeros(label, int))
