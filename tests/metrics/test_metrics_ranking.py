import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.metrics as sk

from mtl_jax import metrics

RNG = np.random.default_rng(2)


AUC = metrics.auc()
UPDATE = jax.jit(AUC.update)


def fill(array, rows, junk):
    return np.concatenate([array, np.full((rows, *array.shape[1:]), junk, array.dtype)])


def value(outputs, labels, mask, cuts=()):
    """In uneven batches, each filled up with masked rows of garbage."""
    parts = [np.split(a, cuts) for a in (outputs, labels, mask)]
    states = []
    for o, y, m in zip(*parts, strict=True):
        rows = len(mask) + 1 - len(m)
        batch = fill(o, rows, np.nan), fill(y, rows, -1), fill(m, rows, False)
        states.append(UPDATE(*batch))
    return metrics.evaluate(AUC, states)["auc"]


def binary(n=60):
    labels = (RNG.uniform(size=n) < 0.3).astype(np.float32)
    outputs = (RNG.normal(size=n) + labels).astype(np.float32)
    mask = RNG.uniform(size=n) < 0.8
    labels[~mask], outputs[~mask] = np.nan, np.nan
    return outputs, labels, mask


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("cuts", [(), (7, 8, 50), (20, 40)])
@pytest.mark.parametrize("column", [False, True])
def test_binary(ties, cuts, column):
    outputs, labels, mask = binary()
    if ties:
        outputs = np.round(outputs)
        assert len(np.unique(outputs[mask])) < 8
    expected = sk.roc_auc_score(labels[mask], outputs[mask])
    outputs = outputs[:, None] if column else outputs
    assert value(outputs, labels, mask, cuts) == pytest.approx(expected, abs=1e-12)


def test_all_scores_tied_is_one_half_and_perfect_is_one():
    labels, mask = np.array([0, 1, 0, 1]), np.ones(4, bool)
    assert value(np.zeros(4, np.float32), labels, mask) == 0.5
    assert value(labels.astype(np.float32), labels, mask) == 1.0
    assert value(-labels.astype(np.float32), labels, mask) == 0.0
    infinite = np.array([-np.inf, np.inf, -np.inf, np.inf], np.float32)
    assert value(infinite, labels, mask, (1, 3)) == 1.0


def test_bfloat16_ties_are_exact():
    outputs, labels, mask = binary(400)
    outputs = jnp.asarray(outputs, jnp.bfloat16)
    plain = np.asarray(outputs.astype(jnp.float32))[mask]
    assert len(np.unique(plain)) < mask.sum()
    state = metrics.auc().update(outputs, labels, mask)
    found = metrics.evaluate(metrics.auc(), [state])["auc"]
    assert found == pytest.approx(sk.roc_auc_score(labels[mask], plain), abs=1e-12)


@pytest.mark.parametrize("constant", [None, 0, 1])
def test_multilabel_averages_the_columns_with_both_classes(constant):
    outputs = RNG.normal(size=(60, 3)).astype(np.float32)
    labels = RNG.integers(0, 2, (60, 3))
    if constant is not None:
        labels[:, 1] = constant
    mask = np.arange(60) % 4 > 0
    columns = [0, 1, 2] if constant is None else [0, 2]
    expected = sk.roc_auc_score(
        labels[mask][:, columns], outputs[mask][:, columns], average="macro"
    )
    assert value(outputs, labels, mask, (13,)) == pytest.approx(expected, abs=1e-12)


def test_multiclass_is_one_against_the_rest():
    outputs = RNG.normal(size=(90, 4)).astype(np.float32) * 3
    labels = RNG.integers(0, 4, 90)
    outputs[np.arange(90), labels] += 2
    mask = np.arange(90) % 5 > 0
    p = np.array(jax.nn.softmax(outputs[mask].astype(np.float64)), np.float64)
    p /= p.sum(1, keepdims=True)
    expected = sk.roc_auc_score(labels[mask], p, multi_class="ovr", average="macro")
    by_logit = np.mean(
        [sk.roc_auc_score(labels[mask] == c, outputs[mask][:, c]) for c in range(4)]
    )
    assert abs(expected - by_logit) > 1e-4  # the logits would rank differently
    assert value(outputs, labels, mask, (31, 32)) == pytest.approx(expected, abs=1e-6)


def test_two_logits_are_ranked_by_their_margin():
    outputs, labels, mask = binary()
    shift = RNG.normal(size=60).astype(np.float32)
    pair = np.stack([shift, shift + outputs * 50], 1)  # softmax would saturate
    whole = np.where(mask, labels, -1).astype(int)
    margin = pair[mask, 1] - pair[mask, 0]
    expected = sk.roc_auc_score(labels[mask], margin)
    assert value(pair, whole, mask, (5,)) == pytest.approx(expected, abs=1e-12)


def test_undefined_is_nan():
    outputs, mask = np.arange(4, dtype=np.float32), np.ones(4, bool)
    for labels in (np.zeros(4, int), np.ones(4, int)):
        assert np.isnan(value(outputs, labels, mask, (2,)))
    labels = np.array([0, 1, 0, 1])
    assert np.isnan(value(outputs, labels, ~mask))
    assert np.isnan(value(np.where(outputs == 1, np.nan, outputs), labels, mask))


def test_eight_devices_agree_with_one():
    outputs, labels, mask = binary(64)
    cut = [a.reshape(8, -1) for a in (outputs, labels, mask)]
    stacked = jax.pmap(metrics.auc().update)(*cut)
    states = [jax.tree.map(lambda leaf, i=i: leaf[i], stacked) for i in range(8)]
    found = metrics.evaluate(metrics.auc(), states)["auc"]
    assert found == value(outputs, labels, mask)


def test_many_states_merge_in_order_and_in_time():
    metric = metrics.auc()
    labels = RNG.integers(0, 2, 20_000)
    scores = (RNG.normal(size=20_000) + labels).astype(np.float32)
    states = (
        {"scores": scores[i : i + 1, None], "positive": labels[i : i + 1, None] > 0}
        | {"mask": np.ones((1, 1), bool)}
        for i in range(20_000)
    )
    expected = sk.roc_auc_score(labels, scores)
    found = metrics.evaluate(metric, states)["auc"]
    assert found == pytest.approx(expected, abs=1e-12)
