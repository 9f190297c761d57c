"""The methods against the golden values, where a developer's checkout has them."""

import functools
import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mtl_jax import weighting

PRECISIONS = ["float64", "float32"]


@pytest.fixture(scope="module")
def golden(shared_dir):
    return json.loads((shared_dir / "golden" / "public.json").read_text())


def entries(golden, strategy):
    found = [e for e in golden["entries"] if e["strategy"] == strategy]
    assert found, f"public.json has no entry of {strategy}"
    return [(e, golden["cases"][e["case"]]) for e in found]


def padded(case, dtype):
    """The Jacobian with zero columns up to P = 50: few shapes, few compilations."""
    jacobian = np.asarray(case["J"])
    return jnp.asarray(np.pad(jacobian, ((0, 0), (0, 50 - jacobian.shape[1]))), dtype)


def check(name, got, expected, relative, absolute=0.0):
    got, expected = np.asarray(got, np.float64), np.asarray(expected)
    error = np.linalg.norm(got - expected)
    bound = relative * np.linalg.norm(expected) + absolute
    assert error <= bound, f"{name}: found {got}, expected {expected}"


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("strategy", ["sum", "mean", "mgda", "pcgrad"])
def test_directions(golden, strategy, precision):
    checked, methods = 0, {}
    with jax.enable_x64(precision == "float64"):
        for entry, case in entries(golden, strategy):
            hyper = dict(entry["hyper"])
            if entry["expected"] is None or "random" in hyper.get("order", ""):
                continue
            relative = entry["tolerance"][
                "d_rel_f64" if precision == "float64" else "d_rel_f32"
            ]
            if relative is None:
                continue
            known = str(hyper)  # a method compiles once a shape
            if known not in methods and strategy in ("sum", "mean"):
                methods[known] = weighting.equal(strategy)
            elif known not in methods:
                methods[known] = weighting.make(strategy, **hyper)
            method = methods[known]
            found = weighting.aggregate(
                method,
                padded(case, precision),
                losses=jnp.asarray(case["L"], precision),
            )
            absolute = entry["tolerance"].get("d_abs", 0.0)
            if entry.get("d_unique", True):
                check(
                    entry["id"],
                    found.direction[: case["D"]],
                    entry["expected"]["d"],
                    relative,
                    absolute,
                )
            if entry["w_unique"] and "w" in entry["expected"]:
                w = np.asarray(entry["expected"]["w"])
                error = np.abs(np.asarray(found.weights) - w).max()
                assert error <= relative * np.abs(w).max(), entry["id"]
            checked += 1
    assert checked >= (20 if precision == "float64" else 15)


def test_pcgrad_random_order_has_the_expected_value(golden):
    method = weighting.pcgrad()

    @jax.jit
    @functools.partial(jax.vmap, in_axes=(0, None))
    def draw(key, jacobian):
        return weighting.aggregate(method, jacobian, key=key).direction

    for entry, case in entries(golden, "pcgrad"):
        if "random" not in entry["hyper"]["order"]:
            continue
        jacobian = padded(case, jnp.float32)
        n = 2000
        mean = np.asarray(
            draw(jax.random.split(jax.random.key(1), n), jacobian), float
        ).mean(0)
        mean = mean[: case["D"]]
        expected = np.asarray(entry["expected"]["d"])
        spread = np.asarray(entry["expected"]["d_std"])
        rounding = 1e-4 * np.abs(np.asarray(case["J"])).max()
        assert np.all(np.abs(mean - expected) <= 5 * spread / np.sqrt(n) + rounding), (
            entry["id"]
        )


def test_graddrop_takes_the_two_values_with_the_stated_probability(golden):
    @jax.jit
    @functools.partial(jax.vmap, in_axes=(0, None, None))
    def draw(key, jacobian, leak):
        method = weighting.graddrop(leak)
        return weighting.aggregate(method, jacobian, key=key).direction

    for entry, case in entries(golden, "graddrop"):
        expected = {k: np.asarray(v) for k, v in entry["expected"].items()}
        jacobian = padded(case, jnp.float32)
        leak = jnp.broadcast_to(jnp.asarray(entry["hyper"]["leak"]), jacobian.shape[:1])
        n = 1000
        calls = np.asarray(
            draw(jax.random.split(jax.random.key(2), n), jacobian, leak), float
        )
        calls = calls[:, : case["D"]]
        rounding = 1e-5 * np.abs(np.asarray(case["J"])).max()
        is_pos = np.abs(calls - expected["pos"]) <= rounding
        is_neg = np.abs(calls - expected["neg"]) <= rounding
        assert np.all(is_pos | is_neg), entry["id"]
        bound = 5 * expected["d_std"] / np.sqrt(n) + rounding
        assert np.all(np.abs(calls.mean(0) - expected["d"]) <= bound), entry["id"]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_sequences(golden, precision):
    key = "rel_f64" if precision == "float64" else "rel_f32"
    with jax.enable_x64(precision == "float64"):
        for entry, case in itertools.chain(
            entries(golden, "dwa"), entries(golden, "uw"), entries(golden, "famo")
        ):
            hyper, relative = dict(entry["hyper"]), entry["tolerance"][key]
            expected = entry["expected"]
            if entry["strategy"] == "uw":
                kendall = hyper["variant"].startswith("kendall")
                hyper["variant"] = "classification" if kendall else "regression"
            method = weighting.make(entry["strategy"], **hyper)
            losses = jnp.asarray(case["L"], precision)
            state = method.init(losses.shape[1])
            for k, row in enumerate(losses):
                weights, state = method.update(row, state)
                check(entry["id"], weights, expected["w"][k], relative)
                if method.observe is not None:
                    after = jnp.asarray(case["L_after"][k], precision)
                    state = method.observe(row, after, state)
                    check(
                        entry["id"], state.logits, expected["logits_after"][k], relative
                    )
                if entry["strategy"] == "uw":
                    check(
                        entry["id"],
                        state.log_variance,
                        expected["s_after"][k],
                        relative,
                    )


def test_rlw_has_the_moments_of_the_reference(golden):
    for entry, _ in entries(golden, "rlw"):
        t, n = int(entry["case"][5:]), 20000
        method = weighting.rlw()
        draw = jax.vmap(lambda k, t=t, m=method: m.update(jnp.ones(t), (), key=k)[0])
        w = np.asarray(draw(jax.random.split(jax.random.key(3), n)), np.float64)
        np.testing.assert_allclose(w.sum(1), 1, atol=1e-5)
        expected = entry["expected"]
        assert abs(w.mean() - expected["mean"]) < 1e-6
        assert abs(w.var(0).mean() / expected["var_per_weight"] - 1) < 0.05
        assert abs(w.max(1).mean() / expected["mean_of_max"] - 1) < 0.02


def test_uw_follows_any_optimizer():
    method = weighting.uw(optimizer=optax.adam(0.1))
    weights, state = method.update(jnp.array([1.0, 8.0]), method.init(2))
    assert weights.tolist() == [0.5, 0.5]
    # Adam's first step has the length of the learning rate, against the gradient.
    np.testing.assert_allclose(state.log_variance, [0.0, 0.1], atol=1e-6)


def test_uw_survives_a_loss_of_any_size():
    """A step along 1e4 would throw s to 100 and the task would be lost."""
    for scale in (1e-6, 1e-3, 1e3, 1e6):
        for variant in ("regression", "classification"):
            method = weighting.uw(variant, sgd_lr=0.1)
            state = method.init(1)
            for _ in range(300):
                weights, state = method.update(jnp.array([scale]), state)
            # At the optimum the weight is 1 / (2 L).
            if scale >= 1e-3:
                assert float(weights[0]) == pytest.approx(0.5 / scale, rel=1e-2)
            assert float(weights[0]) > 0


def test_mgda_with_a_loss_normaliser_refuses_losses_that_are_not_positive():
    for normalize in ("loss", "loss+"):
        out = weighting.aggregate(
            weighting.mgda(normalize), jnp.eye(3), losses=jnp.array([1.0, -0.5, 2.0])
        )
        assert bool(jnp.any(jnp.isnan(out.weights)))


def test_aggregate_takes_integers():
    out = weighting.aggregate(weighting.mgda(), [[3, 0], [0, 3]])
    np.testing.assert_allclose(out.direction, 1.5, rtol=1e-6)
    with pytest.raises(TypeError, match="is not a weighting method"):
        weighting.aggregate("mgda", jnp.eye(2))  # type: ignore[arg-type]
