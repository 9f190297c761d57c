"""The engine against a loop of whole gradients, for every kind and model form."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mtl_jax import engine, models, objective, tasks, train, tree, weighting

T, B = 3, 16
TASKS = (
    tasks.classification("digit", 4),
    tasks.binary("odd"),
    tasks.regression("mass", weight=0.5),
)


@pytest.fixture(scope="module")
def setting():
    heads = {"digit": nn.Dense(4), "odd": nn.Dense(1), "mass": nn.Dense(1)}
    model = models.from_linen(models.HardSharing(models.MLP((8, 5)), heads))
    rng = np.random.default_rng(0)
    x = rng.normal(size=(B, 6)).astype(np.float32)
    batch = {
        "inputs": x,
        "labels": {
            "digit": rng.integers(0, 4, B),
            "odd": rng.integers(0, 2, B),
            "mass": np.where(np.arange(B) < 9, x.sum(1), np.nan),
        },
        "masks": {"mass": np.arange(B) < 9},
    }
    variables = model.init(jax.random.key(0), x)
    split = train.step.bind(
        objective.make_losses(model, TASKS),
        batch,
        key=None,
        collections=variables.collections,
        axis_name=None,
    )

    def whole(shared, specific):
        outputs, _ = model.apply(shared, specific, variables.collections, x)
        return objective.task_losses(TASKS, outputs, batch)

    def one_loss(t, shared, specific):
        out = whole(shared, specific)
        return (out.sums / out.counts)[t]

    grads = [
        jax.grad(lambda s, h, t=t: one_loss(t, s, h), argnums=(0, 1))(
            variables.shared, variables.specific
        )
        for t in range(T)
    ]
    rows = jnp.stack([jax.flatten_util.ravel_pytree(g[0])[0] for g in grads])
    return model, variables, split, whole, rows, [g[1] for g in grads], batch


def ravel(tree_):
    return jax.flatten_util.ravel_pytree(tree_)[0]


METHODS = ["equal", "uw", "famo", "rlw", "dwa", "mgda", "pcgrad", "graddrop"]


@pytest.mark.parametrize("form", ["split", "whole"])
@pytest.mark.parametrize("name", METHODS)
def test_parameters(setting, name, form):
    _, variables, split, whole, rows, head_grads, _ = setting
    method = weighting.make(name)
    key = jax.random.key(3)
    out = engine.gradients(
        method,
        split if form == "split" else whole,
        variables.shared,
        variables.specific,
        method.init(T, variables.shared),
        key=key,
    )
    if name == "graddrop":
        # Signs are drawn leaf by leaf, so the matrix form draws others; compare the
        # leaves' own coordinates: each is the sum of one sign.
        positive = np.where(rows > 0, rows, 0).sum(0)
        negative = np.where(rows < 0, rows, 0).sum(0)
        d = np.asarray(ravel(out.shared))
        near = np.minimum(abs(d - positive), abs(d - negative))
        assert near.max() < 1e-5
        expected_weights = np.ones(T)
    else:
        expected = weighting.aggregate(method, rows, losses=out.losses, key=key)
        np.testing.assert_allclose(
            ravel(out.shared), expected.direction, rtol=2e-4, atol=1e-5
        )
        expected_weights = expected.weights
        np.testing.assert_allclose(out.weights, expected_weights, rtol=2e-4, atol=1e-5)
    heads = expected_weights if isinstance(method, weighting.LossWeighting) else [1] * T
    summed = sum(w * ravel(g) for w, g in zip(heads, head_grads, strict=True))
    np.testing.assert_allclose(ravel(out.specific), summed, rtol=2e-4, atol=1e-5)
    if isinstance(method, weighting.GramianWeighting):
        np.testing.assert_allclose(out.gramian, rows @ rows.T, rtol=1e-4, atol=1e-6)
    else:
        assert out.gramian is None
    assert bool(out.finite)


def test_gramian_heads_may_be_weighed(setting):
    _, variables, split, _, _, head_grads, _ = setting
    mgda = weighting.mgda()
    weighed = mgda._replace(weigh_heads=True)
    out = engine.gradients(weighed, split, variables.shared, variables.specific, ())
    summed = sum(w * ravel(g) for w, g in zip(out.weights, head_grads, strict=True))
    np.testing.assert_allclose(ravel(out.specific), summed, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["mgda", "pcgrad", "graddrop"])
def test_representation(setting, name):
    _, variables, split, _, _, _, _ = setting
    method, key = weighting.make(name), jax.random.key(3)
    out = engine.gradients(
        method,
        split,
        variables.shared,
        variables.specific,
        (),
        key=key,
        at="representation",
    )
    # The same, written out: gradients of each loss with respect to z.
    z, trunk_vjp = jax.vjp(lambda s: split.encode(s).representation, variables.shared)

    def loss_of_z(z, t):
        out = split.losses(variables.specific, (z,) * T)
        return (out.sums / out.counts)[t]

    rows = jnp.stack([jax.grad(loss_of_z)(z, t) for t in range(T)])
    if name == "graddrop":
        direction, _, _ = method.update(rows, (), key=key, primal=z)
    else:
        flat = weighting.aggregate(method, rows.reshape(T, -1), key=key)
        direction = flat.direction.reshape(z.shape)
    expected = trunk_vjp(direction)[0]
    np.testing.assert_allclose(ravel(out.shared), ravel(expected), rtol=1e-4, atol=1e-6)


def test_the_trunk_is_traversed_once_at_the_representation():
    """With many tasks the trunk's backward pass must not be paid for each."""
    num_tasks, key = 8, jax.random.key(0)
    shared = {"a": jnp.ones((32, 64)), "b": jnp.ones((64, 64)), "c": jnp.ones((64, 4))}
    x = jax.random.normal(key, (16, 32))
    heads = {"w": jnp.ones((num_tasks, 4))}

    def encode(shared):
        return jnp.tanh(jnp.tanh(x @ shared["a"]) @ shared["b"]) @ shared["c"]

    split = engine.SplitLosses(
        encode,
        lambda specific, zs: jnp.stack(
            [jnp.mean((z @ w) ** 2) for z, w in zip(zs, specific["w"], strict=True)]
        ),
        num_tasks,
    )

    def flops(run):
        compiled = jax.jit(run).lower(shared, heads).compile()
        return compiled.cost_analysis()["flops"]

    def at(place):
        method = weighting.make("pcgrad", order="ascending")
        return lambda s, h: engine.gradients(method, split, s, h, (), at=place).shared

    def one_pass(shared, heads):
        return jax.grad(lambda s: jnp.sum(encode(s)))(shared)

    floor = flops(one_pass)
    assert flops(at("representation")) < 1.5 * floor
    assert flops(at("parameters")) > 3 * floor


def test_representation_needs_one(setting):
    _, variables, _, whole, _, _, _ = setting
    with pytest.raises(ValueError) as error:
        engine.gradients(
            weighting.mgda(),
            whole,
            variables.shared,
            variables.specific,
            (),
            at="representation",
        )
    assert "no single shared representation" in str(error.value)
    assert "at='parameters', which works with every method" in str(error.value)
    # A method that sees the losses alone does not care.
    out = engine.gradients(
        weighting.equal(),
        whole,
        variables.shared,
        variables.specific,
        (),
        at="representation",
    )
    assert bool(out.finite)
    with pytest.raises(ValueError, match="'parameters' and 'representation'"):
        engine.gradients(weighting.equal(), whole, {}, {}, (), at="heads")


def test_a_summed_loss_is_refused():
    with pytest.raises(ValueError, match=r"return jnp\.stack"):
        engine.gradients(
            weighting.equal(), lambda s, h: jnp.sum(s**2), jnp.ones(2), {}, ()
        )


@pytest.mark.parametrize("name", METHODS)
def test_a_task_without_labels_in_the_batch(setting, name):
    model, variables, _, _, _, _, batch = setting
    batch = {**batch, "masks": {"mass": np.zeros(B, bool)}}
    split = train.step.bind(
        objective.make_losses(model, TASKS),
        batch,
        key=None,
        collections=variables.collections,
        axis_name=None,
    )
    method = weighting.make(name)
    for at in ("parameters", "representation"):
        out = engine.gradients(
            method,
            split,
            variables.shared,
            variables.specific,
            method.init(T),
            key=jax.random.key(0),
            at=at,
        )
        assert bool(out.finite)
        assert out.present.tolist() == [True, True, False]
        assert float(out.losses[2]) == 0.0
        assert float(out.weights[2]) == 0.0
        assert np.all(np.asarray(ravel(out.specific["heads_mass"])) == 0)
        assert np.any(np.asarray(ravel(out.specific["heads_odd"])) != 0)


@pytest.mark.parametrize("scale", [1e-6, 1e6])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_scales_and_dtypes_of_parameters(scale, dtype):
    rng = np.random.default_rng(0)
    a = jnp.asarray(rng.normal(size=(T, 7)), jnp.float32)

    def losses_fn(shared, specific):
        inner = a @ shared["w"].astype(jnp.float32)
        return scale * (1 + inner + specific["b"].astype(jnp.float32) ** 2)

    shared = {"w": jnp.ones(7, dtype)}
    specific = {"b": jnp.full(T, 0.5, dtype)}
    for name in ("mgda", "pcgrad"):
        out = engine.gradients(
            weighting.make(name),
            losses_fn,
            shared,
            specific,
            (),
            key=jax.random.key(0),
        )
        assert bool(out.finite)
        assert out.shared["w"].dtype == dtype
        expected = weighting.aggregate(weighting.make(name), scale * a)
        size = scale * float(jnp.abs(a).max())
        tolerance = 3e-2 if dtype == jnp.bfloat16 else 1e-4
        np.testing.assert_allclose(
            out.shared["w"].astype(jnp.float32),
            expected.direction,
            atol=tolerance * size,
        )


def test_value_and_grad_runs_one_backward_pass(setting):
    _, variables, split, _, _, _, _ = setting

    def count(method):
        def run(shared, specific):
            out = engine.gradients(
                method, split, shared, specific, method.init(T), key=jax.random.key(0)
            )
            return out.shared, out.specific

        compiled = jax.jit(run).lower(variables.shared, variables.specific).compile()
        return compiled.cost_analysis()["flops"]

    single = jax.jit(jax.grad(lambda s, h: split_sum(split, s, h), argnums=(0, 1)))
    floor = single.lower(variables.shared, variables.specific).compile()
    floor = floor.cost_analysis()["flops"]
    for name in ("equal", "uw", "dwa"):
        assert count(weighting.make(name)) < 1.25 * floor
    assert count(weighting.make("pcgrad")) > 1.3 * floor


def split_sum(split, shared, specific):
    z = split.encode(shared).representation
    out = split.losses(specific, (z,) * T)
    return jnp.sum(out.sums / jnp.maximum(out.counts, 1))


def test_gramian_is_formed_in_float32_or_wider():
    rows = {"w": jnp.ones((2, 300), jnp.bfloat16) * 1.001}
    assert tree.gramian(rows).dtype == jnp.float32
    np.testing.assert_allclose(tree.gramian(rows), 300.0, rtol=1e-2)


@pytest.mark.parametrize("name", ["uw", "famo", "mgda"])
def test_a_skipped_step_changes_nothing_but_counters(name):
    """Parameters, optimizer, method and batch statistics stay, bit for bit."""
    heads = {"digit": nn.Dense(4), "odd": nn.Dense(1), "mass": nn.Dense(1)}
    trunk = models.MLP((8, 5), batch_norm=True, dropout=0.3)
    model = models.from_linen(models.HardSharing(trunk, heads))
    rng = np.random.default_rng(1)

    def batch(mass):
        return {
            "inputs": rng.normal(size=(B, 6)).astype(np.float32),
            "labels": {
                "digit": rng.integers(0, 4, B),
                "odd": rng.integers(0, 2, B),
                "mass": np.full(B, mass, np.float32),
            },
        }

    method, optimizer = weighting.make(name), optax.adam(0.1)
    state = train.state.initial(
        model, method, optimizer, batch(1.0)["inputs"], num_tasks=T, seed=0
    )
    losses_fn = objective.make_losses(model, TASKS)
    step = train.make_train_step(losses_fn, method, optimizer, parallel="jit")
    state, out = step(state, batch(1.0))
    parts = ("shared", "specific", "collections", "optimizer", "weighting", "totals")
    assert bool(out.finite)
    kept = jax.device_get([getattr(state, p) for p in parts])
    state, out = step(state, batch(3e38))
    assert not bool(out.finite)
    after = jax.device_get([getattr(state, p) for p in parts])
    jax.tree.map(np.testing.assert_array_equal, kept, after)
    counters = (state.step, state.skipped, state.skipped_in_a_row)
    assert [int(c) for c in counters] == [2, 1, 1]
    state, out = step(state, batch(1.0))
    assert bool(out.finite)
    assert (int(state.skipped), int(state.skipped_in_a_row)) == (1, 0)
    moved = jax.device_get([getattr(state, p) for p in parts])
    assert not np.array_equal(
        jax.tree.leaves(moved[2])[0], jax.tree.leaves(kept[2])[0]
    ), "the batch statistics move again"


def test_a_gradient_whose_square_overflows_does_not_freeze_adam():
    method, optimizer = weighting.make("equal"), optax.adam(0.1)
    state = train.create(
        jnp.ones(2), {}, method=method, optimizer=optimizer, num_tasks=1
    )
    step = train.make_train_step(
        lambda s, h, b: jnp.sum(b["x"] * s)[None], method, optimizer, parallel="jit"
    )
    state, out = step(state, {"x": jnp.array([1e20, 1.0])})
    assert not bool(out.finite)
    for _ in range(3):
        state, out = step(state, {"x": jnp.ones(2)})
        assert bool(out.finite)
    np.testing.assert_allclose(state.shared, 0.7, atol=1e-3)


def test_famo_sees_the_same_batch_and_dropout_before_and_after():
    """With a learning rate of zero nothing improves, whatever the dropout mask."""
    heads = {"digit": nn.Dense(4), "odd": nn.Dense(1), "mass": nn.Dense(1)}
    model = models.from_linen(models.HardSharing(models.MLP((8,), dropout=0.5), heads))
    rng = np.random.default_rng(1)
    batch = {
        "inputs": rng.normal(size=(B, 6)).astype(np.float32),
        "labels": {
            "digit": rng.integers(0, 4, B),
            "odd": rng.integers(0, 2, B),
            "mass": np.ones(B, np.float32),
        },
    }
    seen = []
    famo = weighting.make("famo")

    def observe(before, after, state, **extra):
        seen.append(None)
        return state._replace(logits=before - after)

    method, optimizer = famo._replace(observe=observe), optax.sgd(0.0)
    state = train.state.initial(model, method, optimizer, batch["inputs"], T, 0)
    losses_fn = objective.make_losses(model, TASKS)
    step = train.make_train_step(losses_fn, method, optimizer, parallel="jit")
    state, _ = step(state, batch)
    np.testing.assert_allclose(state.weighting.logits, 0, atol=1e-6)
    assert len(seen) == 1


@pytest.mark.parametrize("name", ["equal", "uw", "mgda", "pcgrad", "graddrop"])
def test_float64_programs(name):
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        a = jnp.asarray(rng.normal(size=(T, 7)))

        def losses_fn(shared, specific):
            sums = (a @ shared) ** 2 + specific["b"] ** 2
            return engine.TaskLosses(sums, jnp.array([3.0, 7.0, 1.0]))

        shared, specific = jnp.ones(7), {"b": jnp.full(T, 0.5)}
        method = weighting.make(name)
        out = engine.gradients(
            method,
            losses_fn,
            shared,
            specific,
            method.init(T),
            key=jax.random.key(0),
        )
        counts = np.array([3.0, 7.0, 1.0])
        inner = np.asarray(a) @ np.ones(7)
        np.testing.assert_allclose(out.losses, (inner**2 + 0.25) / counts, rtol=1e-14)
        rows = (2 * inner / counts)[:, None] * np.asarray(a)
        assert out.shared.dtype == jnp.float64
        if name != "graddrop":
            direction = np.asarray(out.weights) @ rows
            np.testing.assert_allclose(out.shared, direction, rtol=1e-12)
        expected = weighting.aggregate(
            method, rows, losses=out.losses, key=jax.random.key(0)
        )
        if name in ("mgda", "pcgrad"):
            np.testing.assert_allclose(out.shared, expected.direction, rtol=1e-9)


def test_a_gramian_that_overflows_is_a_skipped_step_and_not_an_average():
    for name in ("mgda", "pcgrad"):
        out = engine.gradients(
            weighting.make(name),
            lambda s, h: 1e20 * jnp.stack([3 * s[0], s[1] - s[0]]),
            jnp.ones(2),
            {},
            (),
            key=jax.random.key(0),
        )
        assert not bool(out.finite), name
