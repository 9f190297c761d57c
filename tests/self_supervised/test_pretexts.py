"""Views and labels of self-supervised tasks, against NumPy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtl_jax import metrics, objective, tasks
from mtl_jax.tasks.contrastive import logits
from mtl_jax.tasks.reconstruction import SEEN

RNG = np.random.default_rng(0)


def made(task, inputs):
    """Compiled once, where step by step every operation would be."""
    return jax.jit(task.pretext.examples)(jax.random.key(0), inputs)


def losses_of(task, outputs, labels, **more):
    @jax.jit
    def found(outputs, batch):
        return objective.task_losses([task], {task.name: outputs}, batch)

    out = found(outputs, {"labels": {task.name: labels}, **more})
    return float(out.sums[0] / out.counts[0])


def nt_xent(one, other, temperature):
    """Equation 1 of SimCLR, term by term, and how often the partner is nearest."""
    z = np.concatenate([one, other]).astype(np.float64)
    count = len(one)

    def sim(i, j):
        return z[i] @ z[j] / np.linalg.norm(z[i]) / np.linalg.norm(z[j])

    found, hits = [], []
    for i in range(2 * count):
        partner = (i + count) % (2 * count)
        others = {k: sim(i, k) for k in range(2 * count) if k != i}
        total = sum(np.exp(s / temperature) for s in others.values())
        found.append(-np.log(np.exp(others[partner] / temperature) / total))
        hits.append(max(others, key=others.get) == partner)
    return np.mean(found), np.mean(hits)


def test_nt_xent_is_equation_1():
    one = RNG.normal(size=(6, 4)).astype(np.float32)
    other = (one + RNG.normal(size=(6, 4))).astype(np.float32)
    task = tasks.contrastive("c", 4, augmentations=[lambda k, x: x], temperature=0.3)
    outputs = jax.jit(functools.partial(task.pretext.outputs, axis_name=None))
    out = outputs([one, other], None)
    labels = jnp.zeros((6, 2), jnp.int32)
    value, hits = nt_xent(one, other, 0.3)
    assert losses_of(task, out, labels) == pytest.approx(value, rel=1e-5)
    (accuracy,) = task.metrics
    state = accuracy.update(out, labels, jnp.ones(6, bool))
    found = metrics.evaluate(accuracy, [state])["accuracy"]
    assert found == pytest.approx(hits) and 0 < hits < 1

    valid = np.array([1, 1, 0, 1, 1, 0], bool)  # what fills a batch is no negative
    out = outputs([one, other], valid)
    value, _ = nt_xent(one[valid], other[valid], 0.3)
    found = losses_of(task, out, labels, valid=jnp.asarray(valid))
    assert found == pytest.approx(value, rel=1e-5)


def test_contrastive_views_differ_and_its_errors():
    def add(key, x):
        return x + jax.random.normal(key, x.shape)

    task = tasks.contrastive("c", augmentations=[add, add])
    x = jnp.zeros((3, 2))
    (one, other), _ = made(task, x)
    assert not np.any(np.isclose(one, other))
    with pytest.raises(ValueError, match="'c' has no augmentations"):
        tasks.contrastive("c", augmentations=[])
    with pytest.raises(ValueError, match="temperature=0; it must be positive"):
        tasks.contrastive("c", augmentations=[add], temperature=0)
    with pytest.raises(ValueError, match="compare one vector an example"):
        logits(jnp.ones((2, 3, 3)), jnp.ones((2, 3, 3)), 1.0)
    with pytest.raises(ValueError, match="one array of inputs; found several"):
        made(task, {"tokens": x})


def test_masked_prediction_is_scored_where_it_was_hidden():
    images = RNG.integers(1, 256, (5, 7, 6, 2)).astype(np.uint8)
    task = tasks.masked("m", 7 * 6 * 2, patch=3, share=0.5)
    (view,), labels = made(task, images)
    view, flat = np.asarray(view), np.asarray(labels).reshape(images.shape)
    hidden = flat != SEEN
    np.testing.assert_allclose(flat[hidden], images[hidden] / np.float32(255))
    np.testing.assert_array_equal(view, np.where(hidden, 0, images))
    # 3 of the 3 x 2 patches of each image, whole, of both channels.
    for one in hidden:
        patches = {
            (i, j): one[3 * i : 3 * i + 3, 3 * j : 3 * j + 3]
            for i in range(3)
            for j in range(2)
        }
        assert all(patch.all() or not patch.any() for patch in patches.values())
        assert sum(patch.all() for patch in patches.values()) == 3
    assert len({one.tobytes() for one in hidden}) > 1

    outputs = RNG.normal(size=labels.shape).astype(np.float32)
    error = (outputs - images.reshape(5, -1) / 255)[hidden.reshape(5, -1)]
    assert losses_of(task, outputs, labels) == pytest.approx(np.mean(error**2), 1e-5)
    (metric,) = task.metrics
    found = metric.compute(metric.update(outputs, labels, jnp.ones(5, bool)))
    assert found == pytest.approx(np.abs(error).mean(), 1e-5)

    (view,), labels = made(tasks.masked("m", 10, share=0.3), jnp.ones((4, 10)))
    np.testing.assert_array_equal(np.sum(view == 0, axis=1), [3] * 4)
    np.testing.assert_array_equal(labels == SEEN, view == 1)


def test_autoencoding_and_denoising_have_the_clean_inputs_as_labels():
    x = RNG.uniform(1, 2, (20, 50)).astype(np.float32)
    views, labels = made(tasks.autoencoding("a", 50, scale=0.5), x)
    assert views == ()
    np.testing.assert_allclose(labels, x / 2)
    task = tasks.denoising("d", 50, level=0.25)
    (view,), labels = made(task, x)
    np.testing.assert_array_equal(labels, x)
    gone = np.asarray(view) == 0
    assert 0.2 < gone.mean() < 0.3
    np.testing.assert_array_equal(np.asarray(view)[~gone], x[~gone])
    task = tasks.denoising("d", 50, noise="gaussian", level=0.1, scale=0.01)
    (view,), labels = made(task, x)
    assert np.std(view - x) == pytest.approx(10, rel=0.1)  # 0.1 in units of the labels
    outputs = RNG.normal(size=x.shape).astype(np.float32)
    value = np.mean((outputs - x / 100) ** 2)
    assert losses_of(task, outputs, labels) == pytest.approx(value, 1e-5)


def test_rotation_labels_say_how_the_image_was_turned():
    images = RNG.normal(size=(40, 3, 3, 2)).astype(np.float32)
    (view,), turns = made(tasks.rotation("r"), images)
    for image, turned, n in zip(images, view, turns, strict=True):
        np.testing.assert_array_equal(turned, np.rot90(image, int(n)))
    assert set(np.asarray(turns).tolist()) == {0, 1, 2, 3}
    with pytest.raises(ValueError, match=r"'r' turns square images.* \[2, 3, 4\]"):
        made(tasks.rotation("r"), jnp.ones((2, 3, 4)))


def test_masked_tokens_follow_the_shares_of_bert():
    ids = np.where(RNG.random((300, 40)) < 0.8, RNG.integers(2, 100, (300, 40)), 0)
    ids[:, 0] = 1
    task = tasks.masked_tokens("w", 50, share=0.2, vocabulary=100)
    text = {"tokens": jnp.asarray(ids, jnp.int32)}
    (view,), labels = made(task, text)
    view, labels = np.asarray(view["tokens"]), np.asarray(labels)
    chosen = labels != -1
    np.testing.assert_array_equal(labels[chosen], ids[chosen])
    assert np.all(ids[chosen] > 1) and np.all(ids[chosen] < 50)
    np.testing.assert_array_equal(view[~chosen], ids[~chosen])
    assert chosen.sum() / ((ids > 1) & (ids < 50)).sum() == pytest.approx(0.2, abs=0.02)
    assert np.mean(view[chosen] == 1) == pytest.approx(0.8, abs=0.04)
    same = view[chosen] == ids[chosen]
    assert np.mean(same) == pytest.approx(0.1, abs=0.04)
    drawn = view[chosen][~same & (view[chosen] != 1)]
    assert len(drawn) and drawn.min() >= 2 and 50 < drawn.max() < 100
    with pytest.raises(ValueError, match="hides words of a text"):
        made(task, jnp.ones((2, 3)))


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: tasks.denoising("d", 4, level=1.0), "level=1.0 of masking noise"),
        (lambda: tasks.denoising("d", 4, noise="mask"), "Did you mean 'masking'"),
        (lambda: tasks.masked("d", 4, share=1.0), "give a share in"),
        (lambda: tasks.denoising("d", 4, scale=0), "'d' was given scale=0, by which"),
        (lambda: tasks.masked("d", 4, scale=-1), "'d' was given scale=-1, by which"),
        (lambda: tasks.autoencoding("d", 4, scale=0), "'d' was given scale=0, by wh"),
        (lambda: tasks.masked_tokens("d", 2), "3 or more outputs"),
    ],
)
def test_errors_of_arguments(make, text):
    with pytest.raises(ValueError, match=text):
        make()


@pytest.mark.parametrize(
    ("inputs", "text"),
    [
        (jnp.ones((2, 5)), "has 4 outputs; its inputs .* have 5 numbers"),
        ({"tokens": jnp.ones((2, 5))}, "found several arrays. Of texts, use masked_t"),
        (jnp.ones((2, 2, 2)), "are one patch of 4. Give a smaller patch"),
    ],
)
def test_errors_of_inputs(inputs, text):
    with pytest.raises(ValueError, match=text):
        made(tasks.masked("m", 4), inputs)
