"""Any loss function trains: hand-written, Linen, NNX and Equinox models.

The same small two-task problem each time, with statistics of the trunk's gradients
and, where the model is cut at a representation, of the representation's.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mtl_jax import engine, models, train, weighting

RNG = np.random.default_rng(0)
X = RNG.normal(size=(64, 4)).astype(np.float32)
BATCH = {"x": X, "a": X.sum(1), "b": (X[:, 0] > 0).astype(np.float32)}


def fit(losses_fn, shared, specific, name, at="parameters", collections=(), steps=60):
    method, optimizer = weighting.make(name), optax.adam(0.02)
    state = train.create(
        shared,
        specific,
        method=method,
        optimizer=optimizer,
        num_tasks=2,
        collections=collections,
    )
    step = train.make_train_step(
        losses_fn, method, optimizer, at=at, parallel="jit", steps_per_epoch=10
    )
    losses = []
    for _ in range(steps):
        state, out = step(state, BATCH)
        losses.append(np.asarray(out.losses))
    return state, np.stack(losses)


def two_losses(a, b, batch):
    return jnp.stack(
        [
            jnp.mean((a - batch["a"]) ** 2),
            jnp.mean(optax.sigmoid_binary_cross_entropy(b, batch["b"])),
        ]
    )


def check_learns(losses):
    assert np.all(losses[-1] < 0.6 * losses[0]), (losses[0], losses[-1])


@pytest.mark.parametrize("name", ["uw", "pcgrad", "graddrop"])
def test_hand_written(name):
    key = jax.random.split(jax.random.key(0), 3)
    shared = {"w": 0.5 * jax.random.normal(key[0], (4, 8))}
    specific = {
        "a": 0.3 * jax.random.normal(key[1], (8,)),
        "b": 0.3 * jax.random.normal(key[2], (8,)),
    }

    def losses_fn(shared, specific, batch):
        z = jnp.tanh(batch["x"] @ shared["w"])
        return two_losses(z @ specific["a"], z @ specific["b"], batch)

    _, losses = fit(losses_fn, shared, specific, name)
    check_learns(losses)


@pytest.mark.parametrize("name", ["mgda", "graddrop"])
def test_hand_written_at_the_representation(name):
    key = jax.random.split(jax.random.key(0), 3)
    shared = {"w": 0.5 * jax.random.normal(key[0], (4, 8))}
    specific = {
        "a": 0.3 * jax.random.normal(key[1], (8,)),
        "b": 0.3 * jax.random.normal(key[2], (8,)),
    }
    split = engine.SplitLosses(
        encode=lambda shared, batch: jnp.tanh(batch["x"] @ shared["w"]),
        losses=lambda specific, zs, batch: two_losses(
            zs[0] @ specific["a"], zs[1] @ specific["b"], batch
        ),
        num_tasks=2,
    )
    _, losses = fit(split, shared, specific, name, at="representation")
    check_learns(losses)


@pytest.mark.parametrize("name", ["famo", "pcgrad"])
def test_nnx(name):
    nnx = pytest.importorskip("flax.nnx")

    class Net(nnx.Module):
        def __init__(self, rngs):
            self.trunk = nnx.Linear(4, 8, rngs=rngs)
            self.norm = nnx.BatchNorm(8, rngs=rngs)
            self.a = nnx.Linear(8, 1, rngs=rngs)
            self.b = nnx.Linear(8, 1, rngs=rngs)

        def __call__(self, x):
            z = nnx.relu(self.norm(self.trunk(x)))
            return self.a(z)[:, 0], self.b(z)[:, 0]

    graph, params, rest = nnx.split(Net(nnx.Rngs(0)), nnx.Param, ...)
    pure, rest = nnx.to_pure_dict(params), nnx.to_pure_dict(rest)
    specific = {name: pure.pop(name) for name in ("a", "b")}

    def losses_fn(shared, specific, batch, collections):
        net = nnx.merge(
            graph,
            _state(nnx, params, {**shared, **specific}),
            _state(nnx, rest_state, collections),
            copy=True,
        )
        net.train()
        losses = two_losses(*net(batch["x"]), batch)
        changed = nnx.to_pure_dict(nnx.split(net, nnx.Param, ...)[2])
        return engine.TaskLosses(losses, jnp.ones(2), changed)

    rest_state = nnx.split(Net(nnx.Rngs(0)), nnx.Param, ...)[2]
    state, losses = fit(losses_fn, pure, specific, name, collections=rest)
    check_learns(losses)
    before, after = jax.tree.leaves(rest), jax.tree.leaves(state.collections)
    assert any(not np.array_equal(a, b) for a, b in zip(before, after, strict=True))


def _state(nnx, like, pure):
    """A pure dictionary as an NNX state of the kind of `like`."""
    state = jax.tree.map(lambda leaf: leaf, like)
    nnx.replace_by_pure_dict(state, pure)
    return state


@pytest.mark.parametrize("name", ["dwa", "mgda"])
def test_equinox(name):
    eqx = pytest.importorskip("equinox")
    key = jax.random.split(jax.random.key(0), 3)
    trunk = eqx.nn.MLP(4, 8, 16, 1, key=key[0])
    heads = {
        "a": eqx.nn.Linear(8, 1, key=key[1]),
        "b": eqx.nn.Linear(8, 1, key=key[2]),
    }
    shared, trunk_rest = eqx.partition(trunk, eqx.is_inexact_array)
    specific, heads_rest = eqx.partition(heads, eqx.is_inexact_array)

    def losses_fn(shared, specific, batch):
        trunk = eqx.combine(shared, trunk_rest)
        heads = eqx.combine(specific, heads_rest)
        z = jax.vmap(trunk)(batch["x"])
        a, b = (jax.vmap(heads[k])(z)[:, 0] for k in ("a", "b"))
        return two_losses(a, b, batch)

    _, losses = fit(losses_fn, shared, specific, name)
    check_learns(losses)


def test_linen_module_must_say_what_is_shared():
    class Silent(nn.Module):
        @nn.compact
        def __call__(self, x, train=False):
            return {"a": nn.Dense(1)(x)}

    with pytest.raises(ValueError, match="give it an attribute shared_names"):
        models.from_linen(Silent())

    class Wrong(Silent):
        shared_names = ("trunk",)

    with pytest.raises(ValueError, match=r"has \['trunk'\], but its top-level"):
        models.from_linen(Wrong()).init(jax.random.key(0), jnp.ones((1, 2)))


def test_a_users_linen_module_without_a_representation():
    class Net(nn.Module):
        shared_names = ("shared",)

        @nn.compact
        def __call__(self, x, train=False):
            z = nn.relu(nn.Dense(8, name="shared")(x))
            return {"a": nn.Dense(1, name="a")(z), "b": nn.Dense(1, name="b")(z)}

    model = models.from_linen(Net())
    assert model.encode is None
    variables = model.init(jax.random.key(0), X)
    assert list(variables.shared) == ["shared"]
    assert sorted(variables.specific) == ["a", "b"]
    out, _ = model.apply(*variables, X)
    assert out["a"].shape == (64, 1)


def test_split_and_whole_forms_of_a_linen_model_agree():
    net = models.HardSharing(
        models.MLP((8, 8), batch_norm=True), {"a": nn.Dense(1), "b": nn.Dense(2)}
    )
    model = models.from_linen(net)
    variables = model.init(jax.random.key(0), X)
    trunk, heads = variables.collections
    whole, changed = model.apply(*variables, X, train=True)
    z, new_trunk = model.encode(variables.shared, trunk, X, train=True)
    parts, new_heads = model.decode(
        variables.specific, heads, {"a": z, "b": z}, train=True
    )
    for name in whole:
        np.testing.assert_allclose(whole[name], parts[name], rtol=1e-6)
    a, b = jax.tree.leaves(changed), jax.tree.leaves((new_trunk, new_heads))
    assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))
    assert jax.tree.structure(new_trunk) == jax.tree.structure(trunk)


def test_batch_norm_in_a_head_is_kept():
    class Head(nn.Module):
        @nn.compact
        def __call__(self, z):
            return nn.Dense(1)(nn.BatchNorm(use_running_average=False)(z))

    model = models.from_linen(
        models.HardSharing(models.MLP((8,)), {"a": Head(), "b": nn.Dense(1)})
    )
    variables = model.init(jax.random.key(0), X)
    z, _ = model.encode(variables.shared, variables.collections[0], X, train=True)
    _, changed = model.decode(
        variables.specific, variables.collections[1], {"a": z, "b": z}, train=True
    )
    before = jax.tree.leaves(variables.collections[1])
    after = jax.tree.leaves(changed)
    assert len(before) == 2
    assert all(not np.array_equal(a, b) for a, b in zip(before, after, strict=True))


def test_trunks_and_heads_with_and_without_train():
    class Head(nn.Module):
        @nn.compact
        def __call__(self, z, train=False):
            z = nn.BatchNorm(use_running_average=not train)(z)
            return nn.Dense(1)(nn.Dropout(0.5, deterministic=not train)(z))

    net = models.HardSharing(
        nn.Sequential([nn.Dense(8), nn.relu]), {"a": Head(), "b": nn.Dense(1)}
    )
    model = models.from_linen(net)
    variables = model.init(jax.random.key(0), X)

    def run(seed, train):
        out, changed = model.apply(*variables, X, train=train, key=jax.random.key(seed))
        return out["a"], changed

    one, changed = run(1, True)
    other, _ = run(2, True)
    assert not np.allclose(one, other), "the head's dropout must be on in training"
    np.testing.assert_array_equal(run(1, False)[0], run(2, False)[0])
    before, after = jax.tree.leaves(variables.collections), jax.tree.leaves(changed)
    assert len(before) == 2
    assert not np.array_equal(before[0], after[0])
