"""Penalties of models are part of the losses of tasks, in every form of a model."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from architecture_cases import BATCH, CHAIN, TASKS, start

import mtl_jax as mtl
from mtl_jax import models, objective, tasks, train, weighting
from mtl_jax.models import Penalised
from mtl_jax.stacked import Stacked


def test_a_penalty_is_a_mean_over_the_labelled_examples():
    rng = np.random.default_rng(3)
    answers = rng.normal(size=(6, 1)).astype(np.float32)
    penalty = rng.uniform(size=6).astype(np.float32)
    labels = {"a": rng.normal(size=6), "b": rng.normal(size=6), "c": rng.normal(size=6)}
    masks = {"a": np.array([1, 1, 0, 1, 0, 1], bool), "c": np.zeros(6, bool)}
    valid = np.array([1, 1, 1, 1, 1, 0], bool)
    task_list = [tasks.regression(n, weight=w) for n, w in (("a", 3.0), ("b", 1.0))]
    task_list.append(tasks.regression("c"))
    outputs = {n: Penalised(jnp.asarray(answers), jnp.asarray(penalty)) for n in "ac"}
    outputs["b"] = jnp.asarray(answers)
    batch = {"labels": labels, "masks": masks, "valid": valid}
    out = objective.task_losses(task_list, outputs, batch)
    errors = (answers[:, 0] - labels["a"]) ** 2 + penalty
    here = masks["a"] & valid
    assert out.sums[0] / out.counts[0] == pytest.approx(3 * errors[here].mean())
    without = ((answers[:, 0] - labels["b"]) ** 2)[valid].mean()
    assert out.sums[1] / out.counts[1] == pytest.approx(without)
    assert out.sums[2] == out.counts[2] == 0


def test_penalties_of_stacked_heads():
    task_list = [tasks.binary(n) for n in "abc"]
    batch = {"labels": {n: jnp.arange(4) % 2 for n in "abc"}}
    logits = jnp.arange(12.0).reshape(3, 4, 1) / 5
    penalty = jnp.arange(8.0).reshape(2, 4)
    stacked = Stacked(
        [("a", "c"), ("b",)], [Penalised(logits[:2], penalty), logits[2:]]
    )
    alone = {
        "a": Penalised(logits[0], penalty[0]),
        "b": logits[2],
        "c": Penalised(logits[1], penalty[1]),
    }
    found = objective.task_losses(task_list, stacked, batch)
    expected = objective.task_losses(task_list, alone, batch)
    np.testing.assert_allclose(found.sums, expected.sums, rtol=1e-6)
    plain = {n: o.outputs if n != "b" else o for n, o in alone.items()}
    plain = objective.task_losses(task_list, plain, batch)
    np.testing.assert_allclose(found.sums - plain.sums, [6, 0, 22], rtol=1e-5)
    np.testing.assert_array_equal(found.kpi, plain.kpi)


def step_of(model, variables, devices=1, **options):
    method, optimizer = weighting.make("pcgrad"), optax.sgd(0.1)
    state = train.create(
        variables.shared,
        variables.specific,
        method=method,
        optimizer=optimizer,
        num_tasks=len(CHAIN),
    )
    step = train.make_train_step(
        objective.make_losses(model, TASKS),
        method,
        optimizer,
        parallel="pmap",
        devices=jax.devices()[:devices],
        **options,
    )
    state, output = step(state, objective.pack(BATCH))
    return jax.device_get((state.shared, state.specific, output.losses))


@pytest.mark.parametrize(
    "name, options",
    [
        ("aitm", {"devices": 4}),
        ("aitm", {"accumulate": 2}),
        ("dselect_k", {"devices": 4}),
        ("shared_private", {"devices": 4}),
    ],
)
def test_devices_and_parts_of_a_batch_see_the_same(name, options):
    """A model without and one with a representation and stacked heads."""
    _, model, variables = start(name)
    found, expected = (step_of(model, variables, **o) for o in (options, {}))
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_a_users_penalty_trains_and_is_not_evaluated():
    class Small(nn.Module):
        """A head whose weights are pulled to zero."""

        rate: float

        @nn.compact
        def __call__(self, z, train=False):
            kernel = self.param("kernel", nn.initializers.ones, (z.shape[-1], 1))
            if not train:
                return z @ kernel
            penalty = jnp.full(z.shape[:1], self.rate * jnp.sum(kernel**2))
            return Penalised(z @ kernel, penalty)

    rng = np.random.default_rng(4)
    rows = rng.normal(size=(64, 3)).astype(np.float32)
    data = mtl.data.from_arrays(rows, {"y": rows.sum(1)}, fractions=(0.5, 0.25, 0.25))

    def fitted(rate):
        net = models.HardSharing(nn.Dense(4), {"y": Small(rate)})
        return mtl.fit(
            net,
            [tasks.regression("y")],
            data,
            optimizer=optax.sgd(0.05),
            epochs=20,
            batch_size=32,
            parallel="jit",
            log_every=1,
        )

    def first_loss(run):
        return next(r["y/loss"] for r in run.history if r["split"] == "train")

    def size(run):
        return np.abs(run.params["specific"]["heads_y"]["kernel"]).sum()

    free, pulled = fitted(0.0), fitted(1.0)
    assert first_loss(pulled) - first_loss(free) == pytest.approx(4.0, rel=1e-5)
    assert size(pulled) < 0.5 * size(free)
    test = data.test
    mean = np.mean((pulled.predict(test.inputs)["y"] - test.labels["y"]) ** 2)
    assert pulled.test["y/loss"] == pytest.approx(mean, rel=1e-5)
