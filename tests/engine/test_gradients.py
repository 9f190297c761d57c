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


def test_the_trunk_is_traversed_once_at_the_representation(setting):
    _, variables, split, _, _, _, _ = setting

    def flops(at):
        def run(shared, specific):
            return engine.gradients(
                weighting.pcgrad("ascending"), split, shared, specific, (), at=at
            ).shared

        lowered = jax.jit(run).lower(variables.shared, variables.specific)
        return lowered.as_text().count("dot_general")

    assert flops("representation") <= flops("parameters")


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


def test_a_skipped_step_changes_nothing_but_counters():
    method, optimizer = weighting.make("uw"), optax.adam(0.1)

    def losses_fn(shared, specific, batch):
        return jnp.stack([jnp.sum(shared * batch["x"]), jnp.sum(shared**2)])

    state = train.create(
        jnp.ones(2), {}, method=method, optimizer=optimizer, num_tasks=2
    )
    step = train.make_train_step(losses_fn, method, optimizer, parallel="jit")
    state, out = step(state, {"x": np.ones(2, np.float32)})
    kept = jax.device_get((state.shared, state.optimizer, state.weighting))
    state, out = step(state, {"x": np.full(2, np.inf, np.float32)})
    assert not bool(out.finite)
    after = jax.device_get((state.shared, state.optimizer, state.weighting))
    assert all(
        np.array_equal(a, b)
        for a, b in zip(jax.tree.leaves(kept), jax.tree.leaves(after), strict=True)
    )
    assert (int(state.step), int(state.skipped), int(state.skipped_in_a_row)) == (
        2,
        1,
        1,
    )
    state, out = step(state, {"x": np.ones(2, np.float32)})
    assert bool(out.finite)
    assert (int(state.skipped), int(state.skipped_in_a_row)) == (1, 0)
