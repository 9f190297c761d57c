"""Models that compute in bfloat16 train as those that do not."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn.datasets import load_digits

import mtl_jax as mtl
from mtl_jax import models, objective, train
from mtl_jax.weighting import make

DIGITS = load_digits()
TASKS = (mtl.classification("digit", 10), mtl.binary("large"))


class Net(nn.Module):
    """A model of a user who never heard of dtypes."""

    shared_names = ("trunk", "norm", "cell")

    def setup(self):
        self.trunk, self.norm = nn.Dense(32), nn.BatchNorm(momentum=0.9)
        self.cell = nn.RNN(nn.GRUCell(8))
        self.digit, self.large = nn.Dense(10), nn.Dense(1)

    def encode(self, inputs, train=False):
        x = inputs.reshape(len(inputs), -1).astype(jnp.float32) / 16
        x = nn.relu(self.norm(self.trunk(x), use_running_average=not train))
        return jnp.concatenate([x, self.cell(x.reshape(-1, 4, 8))[:, -1]], axis=1)

    def decode(self, z, train=False):
        return {name: getattr(self, name)(z[name]) for name in z}

    def __call__(self, inputs, train=False):
        z = self.encode(inputs, train)
        return self.decode({"digit": z, "large": z}, train)


def seen(function, *arguments):
    """The dtypes of all matrix products of a function."""
    text = str(jax.make_jaxpr(function)(*arguments))
    lines = [line for line in text.splitlines() if "dot_general[" in line]
    return {line.split("=")[0].split(":")[1].split("[")[0] for line in lines}


def test_the_layers_compute_in_it_and_nothing_else_does():
    model = models.in_dtype(models.from_linen(Net()), "bfloat16")
    images = DIGITS.images[:8].astype(np.uint8)
    variables = model.init(jax.random.key(0), images)
    for leaf in jax.tree.leaves(variables):
        assert leaf.dtype == jnp.float32

    def encode(shared):
        return model.encode(shared, variables.collections[0], images, train=True)

    z, collections = encode(variables.shared)
    assert z.dtype == jnp.float32
    assert all(a.dtype == jnp.float32 for a in jax.tree.leaves(collections))
    assert seen(encode, variables.shared) == {"bf16"}
    gradient = jax.grad(lambda shared: jnp.sum(encode(shared)[0]))(variables.shared)
    assert all(a.dtype == jnp.float32 for a in jax.tree.leaves(gradient))
    fixed = models.in_dtype(
        models.from_linen(
            models.HardSharing(models.MLP((8,), dtype=jnp.float32), {"a": nn.Dense(1)})
        ),
        "bfloat16",
    )
    start = fixed.init(jax.random.key(0), jnp.ones((2, 4)))
    whole = seen(lambda *v: fixed.apply(*v, jnp.ones((2, 4)))[0], *start)
    assert whole == {"f32", "bf16"}, "a layer keeps a dtype of its own"
    same = models.from_linen(Net())
    assert models.in_dtype(same, "float32") is same
    with pytest.raises(ValueError, match=r"'bfloat61'. Did you mean 'bfloat16'\?"):
        models.in_dtype(same, "bfloat61")


def one_step(model, params=lambda p: p):
    method, optimizer = make("imtl_g"), optax.adam(1e-3)
    images = DIGITS.images[:64].astype(np.uint8)
    labels = {"digit": DIGITS.target[:64], "large": (DIGITS.target[:64] > 4) * 1}
    variables = model.init(jax.random.key(0), images)
    state = train.create(
        params(variables.shared),
        params(variables.specific),
        method=method,
        optimizer=optimizer,
        num_tasks=2,
        collections=variables.collections,
    )
    step = train.make_train_step(
        objective.make_losses(model, TASKS), method, optimizer, parallel="jit"
    )
    return step(state, {"inputs": images, "labels": labels})


def test_a_step_is_close_and_its_statistics_are_float32():
    model = models.from_linen(Net())
    _, exact = one_step(model)
    state, output = one_step(models.in_dtype(model, "bfloat16"))
    assert bool(output.finite)
    for part in (output.losses, output.gramian, output.weights):
        assert part.dtype == jnp.float32
    for leaf in jax.tree.leaves((state.shared, state.specific, state.collections)):
        assert leaf.dtype == jnp.float32
    np.testing.assert_allclose(output.losses, exact.losses, rtol=0.02)
    np.testing.assert_allclose(output.gramian, exact.gramian, rtol=0.1, atol=1e-3)
    assert np.any(np.asarray(output.losses) != np.asarray(exact.losses))


def test_parameters_that_are_narrow_themselves():
    narrow = lambda tree: jax.tree.map(lambda a: a.astype(jnp.bfloat16), tree)  # noqa: E731
    state, output = one_step(models.from_linen(Net()), narrow)
    assert bool(output.finite)
    assert output.gramian.dtype == output.losses.dtype == jnp.float32
    for leaf in jax.tree.leaves((state.shared, state.specific)):
        assert leaf.dtype == jnp.bfloat16


def test_digits_are_learned_as_well():
    data = mtl.data.from_arrays(
        DIGITS.images.astype(np.uint8),
        {"digit": DIGITS.target, "large": (DIGITS.target > 4).astype(np.int32)},
    )
    heads = {"digit": nn.Dense(10), "large": nn.Dense(1)}
    results = [
        mtl.fit(
            models.HardSharing(models.MLP((64,), input_scale=1 / 16), heads),
            TASKS,
            data,
            epochs=15,
            optimizer=optax.adam(3e-3),
            parallel="jit",
            compute_dtype=dtype,
        )
        for dtype in ("float32", "bfloat16")
    ]
    for key in ("digit/accuracy", "large/accuracy"):
        exact, close = (r.test[key] for r in results)
        assert exact > 0.9
        assert close == pytest.approx(exact, abs=0.02)
    assert results[1].outputs(data.test.inputs)["digit"].dtype == np.float32
