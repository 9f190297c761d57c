"""A batch in parts gives what the whole batch gives, for less memory."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import mtl_jax as mtl
from mtl_jax import models, objective, train
from mtl_jax.engine import SplitLosses
from mtl_jax.train.activations import Activations
from mtl_jax.train.binding import bind
from mtl_jax.weighting import make

RNG = np.random.default_rng(0)
SIZE = 24
TASKS = (mtl.classification("kind", 3), mtl.binary("tall"), mtl.regression("age"))
OPTIMIZER = optax.adam(0.05)


def batch_of(size):
    """Labels are missing unevenly, so that means of means would be wrong."""
    x = RNG.normal(size=(size, 6)).astype(np.float32)
    return {
        "inputs": x,
        "labels": {
            "kind": np.argmax(x[:, :3], 1),
            "tall": (x[:, 3] > 0).astype(np.int32),
            "age": x.sum(1),
        },
        "masks": {
            "tall": np.arange(size) < 0.6 * size,
            "age": np.arange(size) % 5 != 0,
        },
    }


def by_similarity(gramian, state, **extra):
    return jax.nn.softmax(jnp.sum(gramian, 0) / jnp.trace(gramian)), state


LIGHT = mtl.weighting.GramianWeighting(lambda n, params=None: (), by_similarity)
"""A Gramian method that compiles fast."""

BATCH = {**batch_of(SIZE), "validation": batch_of(SIZE)}


def network(**options):
    heads = {"kind": nn.Dense(3), "tall": nn.Dense(1), "age": nn.Dense(1)}
    return models.from_linen(models.HardSharing(models.MLP((8, 5), **options), heads))


def whole(losses_fn):
    """The same losses, not split."""

    def losses(shared, specific, batch, *, key, collections, axis_name):
        split = bind(
            losses_fn, batch, key=key, collections=collections, axis_name=axis_name
        )
        z = split.encode(shared)
        return split.losses(specific, (z.representation,) * split.num_tasks)

    return losses


@functools.cache
def start(model):
    return jax.jit(model.init)(jax.random.key(0), jnp.ones((1, 6)))


PLAIN = network()


def run(name, *, form=lambda f: f, devices=1, steps=2, model=None, **knobs):
    method = make(name) if isinstance(name, str) else name
    model = model or PLAIN
    losses_fn = form(objective.make_losses(model, TASKS))
    variables = start(model)
    state = train.create(
        variables.shared,
        variables.specific,
        method=method,
        optimizer=OPTIMIZER,
        num_tasks=3,
        collections=variables.collections,
    )
    bilevel = isinstance(method, mtl.weighting.BilevelWeighting)
    step = (train.make_bilevel_step if bilevel else train.make_train_step)(
        losses_fn, method, OPTIMIZER, devices=jax.devices()[:devices], **knobs
    )
    given = BATCH if bilevel else {k: v for k, v in BATCH.items() if k != "validation"}
    for _ in range(steps):
        state, output = step(state, given)
    assert int(output.skipped) == 0
    return state, output


def assert_same(one, other, tolerance=2e-5):
    (state, output), (other_state, other_output) = one, other
    for part in ("losses", "weights", "gramian"):
        a, b = getattr(output, part), getattr(other_output, part)
        if a is not None:
            scale = float(np.max(np.abs(a)))
            np.testing.assert_allclose(b, a, atol=tolerance * scale, err_msg=part)
    for a, b in zip(
        jax.tree.leaves((state.shared, state.specific, state.weighting)),
        jax.tree.leaves((other_state.shared, other_state.specific, state.weighting)),
        strict=True,
    ):
        np.testing.assert_allclose(b, a, rtol=1e-3, atol=tolerance)


@pytest.mark.parametrize(
    ("name", "knobs"),
    [
        ("famo", {}),
        (LIGHT, {}),
        (LIGHT, {"at": "representation"}),
        (LIGHT, {"form": whole}),
        ("db_mtl", {}),
        ("modo", {}),
        ("auto_lambda", {}),
    ],
    ids=["losses", "gramian", "representation", "whole", "jacobian", "samples", "two"],
)
def test_the_step_is_that_of_the_whole_batch(name, knobs):
    # The three samples of modo have 8 examples each.
    parts = 2 if name == "modo" else 3
    assert_same(run(name, **knobs), run(name, accumulate=parts, **knobs))


def test_over_devices():
    assert_same(run(LIGHT), run(LIGHT, accumulate=3, devices=2))


class Convolving(nn.Module):
    """A trunk that is not put in a loop on CPUs."""

    @nn.compact
    def __call__(self, inputs):
        return nn.tanh(nn.Conv(4, (3,))(inputs[..., None])).reshape(len(inputs), -1)


def test_with_convolutions():
    heads = {"kind": nn.Dense(3), "tall": nn.Dense(1), "age": nn.Dense(1)}
    model = models.from_linen(models.HardSharing(Convolving(), heads))
    assert_same(run(LIGHT, model=model), run(LIGHT, model=model, accumulate=3))


def test_losses_without_counts_are_averaged():
    def losses_fn(shared, specific, batch):
        return jnp.stack([jnp.mean((batch["x"] - shared) ** 2), jnp.mean(batch["x"])])

    x = {"x": RNG.normal(size=12).astype(np.float32)}
    results = []
    for parts in (1, 4):
        state = train.create(
            jnp.array(0.5), {}, method=make("equal"), optimizer=OPTIMIZER, num_tasks=2
        )
        step = train.make_train_step(
            losses_fn, make("equal"), OPTIMIZER, accumulate=parts, parallel="jit"
        )
        results.append(step(state, x))
    assert_same(*results)


def test_batch_statistics_go_from_part_to_part():
    model = network(batch_norm=True)
    state, _ = run("equal", model=model, accumulate=2, steps=1)
    variables = start(model)
    trunk = variables.collections[0]
    for part in (BATCH["inputs"][:12], BATCH["inputs"][12:]):
        _, trunk = model.encode(variables.shared, trunk, part, train=True)
    for a, b in zip(
        jax.tree.leaves(trunk), jax.tree.leaves(state.collections[0]), strict=True
    ):
        assert b.dtype == jnp.float32
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_every_part_draws_its_own_dropout():
    def encode(shared, batch, key):
        return shared * jax.random.normal(key, batch["x"].shape)

    def losses(specific, zs, batch):
        return jnp.stack([jnp.sum(z) for z in zs])

    bound = bind(
        SplitLosses(encode, losses, 2),
        {"x": jnp.ones((4, 3))},
        key=jax.random.key(0),
        collections=(),
        axis_name=None,
        activations=Activations(accumulate=2),
    )
    z = bound.encode(jnp.array(1.0)).representation
    assert z.shape == (4, 3)
    assert not np.allclose(z[:2], z[2:])


@pytest.mark.parametrize("form", [lambda f: f, whole], ids=["split", "whole"])
def test_what_is_computed_again_is_the_same(form, remat="full"):
    assert_same(run(LIGHT, form=form), run(LIGHT, form=form, remat=remat))


def gradient_of_a_deep_trunk(**knobs):
    def encode(shared, batch):
        z = batch["x"]
        for _ in range(12):
            z = jnp.tanh(z @ shared)
        return z

    def losses(specific, zs, batch):
        return jnp.stack([jnp.mean(z**2) for z in zs])

    def loss(shared, x):
        bound = bind(
            SplitLosses(encode, losses, 2),
            {"x": x},
            key=None,
            collections=(),
            axis_name=None,
            activations=Activations(**knobs),
        )
        z = bound.encode(shared)
        z = getattr(z, "representation", z)
        return jnp.sum(bound.losses({}, (z, z)))

    shapes = [(32, 32), (4096, 32)]
    given = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    return jax.jit(jax.grad(loss)).trace(*given)


def test_memory_is_saved():
    def temporaries(**knobs):
        compiled = gradient_of_a_deep_trunk(**knobs).lower().compile()
        return compiled.memory_analysis().temp_size_in_bytes

    assert temporaries(accumulate=8) < 0.5 * temporaries()


def test_what_is_not_kept_is_computed_again():
    def count(name, **knobs):
        return str(gradient_of_a_deep_trunk(**knobs).jaxpr).count(f" {name}")

    assert count("tanh") == count("tanh", remat="everything_saveable") == 12
    assert count("tanh", remat="full") == count("tanh", remat="dots_saveable") == 24
    assert count("dot_general", remat="full") > count("dot_general")
    assert count("dot_general", remat="dots_saveable") == count("dot_general")


def test_errors_say_what_is_wrong():
    with pytest.raises(ValueError, match="the 24 examples that a device passes"):
        run("equal", accumulate=5)
    with pytest.raises(ValueError, match="accumulate is 0; a batch has at least 1"):
        run("equal", accumulate=0)
    with pytest.raises(ValueError, match=r"unknown remat 'ful'.*'full'.*dots_saveable"):
        run("equal", remat="ful")
    with pytest.raises(ValueError, match=r"'gost'. Did you mean 'ghost'\?.*layerwise"):
        run("pcgrad", gramian="gost")
    with pytest.raises(ValueError, match="task_chunk is 0; it is the number"):
        run("pcgrad", task_chunk=0)
