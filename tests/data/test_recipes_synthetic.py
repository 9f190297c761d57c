"""Synthetic recipes: what they promise of their labels."""

import numpy as np
import pytest

from mtl_jax.data import recipes


@pytest.mark.parametrize("correlation", [-1.0, 0.0, 0.6, 1.0])
def test_mmoe_labels_follow_the_equation(correlation):
    """Each label is a function of one direction; these have the cosine asked for."""
    data = recipes.make(
        "mmoe_synthetic",
        correlation=correlation,
        features=6,
        noise=0.0,
        scale=0.7,
        train=50_000,
        validation=0,
        test=10,
    )
    assert data.validation is None
    x = data.train.inputs.astype(np.float64)
    # E[x y(wᵀx)] = E[y'] w for normal x (Stein), so regression finds the direction.
    weights = [
        np.linalg.lstsq(x, y - y.mean(), rcond=None)[0]
        for y in data.train.labels.values()
    ]
    unit = [w / np.linalg.norm(w) for w in weights]
    assert unit[0] @ unit[1] == pytest.approx(correlation, abs=0.06)
    for w, y in zip(unit, data.train.labels.values(), strict=True):
        order = np.argsort(x @ w)
        smooth = np.convolve(y[order], np.ones(101) / 101, "valid")
        rest = y[order][50:-50] - smooth
        assert rest.std() < 0.25 * y.std(), "no function of one direction"
    known = np.corrcoef(*data.train.labels.values())[0, 1]
    assert data.facts["label_correlation"] == pytest.approx(known)
    if correlation == 1:
        first, second = data.train.labels.values()
        np.testing.assert_allclose(first, second, rtol=1e-5, atol=1e-6)


def test_mmoe_noise_and_seeds():
    quiet, loud, other = (
        recipes.make("mmoe_synthetic", train=2000, noise=noise, seed=seed)
        for noise, seed in ((0.0, 0), (0.5, 0), (0.0, 1))
    )
    np.testing.assert_array_equal(quiet.train.inputs, loud.train.inputs)
    noise = loud.train.labels["first"] - quiet.train.labels["first"]
    assert noise.std() == pytest.approx(0.5, rel=0.05)
    assert (quiet.train.inputs != other.train.inputs).any()
    again = recipes.make("mmoe_synthetic", train=2000, noise=0.0)
    np.testing.assert_array_equal(
        again.test.labels["second"], quiet.test.labels["second"]
    )
    with pytest.raises(ValueError, match=r"correlation=1\.5 and features=100: give"):
        recipes.make("mmoe_synthetic", correlation=1.5)


def test_a_conversion_needs_a_click():
    data = recipes.make(
        "click_conversion", train=40_000, validation=500, test=20_000, correlation=0.8
    )
    for part in (data.train, data.validation, data.test):
        click, conversion = part.labels["click"], part.labels["conversion"]
        after, known = part.labels["conversion_if_clicked"], part.masks
        assert not conversion[click == 0].any()
        np.testing.assert_array_equal(conversion[click == 1], after[click == 1])
        assert part.masks.keys() == {"conversion_if_clicked"}
        if part is data.test:
            assert known["conversion_if_clicked"].all()
        else:
            np.testing.assert_array_equal(known["conversion_if_clicked"], click == 1)
            assert not after[click == 0].any(), "what is not known is not there"
    click = data.train.labels["click"]
    assert click.mean() == pytest.approx(0.1, abs=0.01)
    assert data.facts["click_rate"] == pytest.approx(click.mean())
    # Those who click would convert more often: training on them alone is biased.
    would, clicked = (
        data.test.labels["conversion_if_clicked"],
        data.test.labels["click"],
    )
    assert would.mean() == pytest.approx(0.15, abs=0.015)
    assert would[clicked == 1].mean() > would[clicked == 0].mean() + 0.1
    with pytest.raises(ValueError, match=r"click_rate=0, conversion_rate=0\.15"):
        recipes.make("click_conversion", click_rate=0)


def test_scores_that_have_nothing_in_common():
    data = recipes.make("click_conversion", correlation=0.0, test=60_000)
    would, clicked = (
        data.test.labels["conversion_if_clicked"],
        data.test.labels["click"],
    )
    error = np.sqrt(0.15 * 0.85 / clicked.sum())
    assert abs(would[clicked == 1].mean() - would[clicked == 0].mean()) < 4 * error
    ids = data.train.inputs["categories"]
    assert ids.min() == 1 and tuple(ids.max(0) + 1) == (201, 101)
    assert data.facts["model"]["cardinalities"] == (201, 101)


def test_many_tasks_have_few_directions():
    data = recipes.make("many_tasks", tasks=30, directions=4, noise=0.0, missing=0.4)
    names = [f"task_{t}" for t in range(30)]
    assert list(data.facts["tasks"]) == names
    labels = np.stack([data.test.labels[name] for name in names], axis=1)
    values = np.linalg.svd(labels.astype(np.float64), compute_uv=False)
    assert (values[:4] > 1).all() and (values[4:] < 1e-3).all()
    known = np.mean([data.train.masks[name] for name in names])
    assert known == pytest.approx(0.6, abs=0.01)
    assert all(data.test.masks[name].all() for name in names)
