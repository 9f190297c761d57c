"""Training where every task has examples of its own."""

import flax.linen as nn
import jax
import numpy as np
import optax
import pytest

import mtl_jax as mtl
from mtl_jax import data, models

RNG = np.random.default_rng(0)
DIRECTIONS = RNG.normal(size=(2, 6))
TASKS = (mtl.binary("left"), mtl.binary("right"))


def own(task, count):
    inputs = RNG.normal(size=(count, 6)).astype(np.float32)
    label = (inputs @ DIRECTIONS[task] > 0).astype(np.int32)
    name = TASKS[task].name
    return data.from_arrays(inputs, {name: label}, fractions=(0.75, 0.0, 0.25))


DATA = data.per_task({"left": own(0, 160), "right": own(1, 96)}, policy="max")


USUAL = {"method": "pcgrad", "parallel": "jit", "epochs": 10, "batch_size": 16}


def train(workdir=None, **options):
    heads = {t.name: nn.Dense(1) for t in TASKS}
    return mtl.fit(
        models.HardSharing(models.MLP((16,)), heads),
        TASKS,
        DATA,
        workdir=workdir,
        optimizer=optax.adam(0.01),
        **{**USUAL, **options},
    )


@pytest.fixture(scope="module")
def trained():
    return train()


def test_both_tasks_are_learnt_from_their_own_examples(trained):
    assert trained.test["left/accuracy"] > 0.85
    assert trained.test["right/accuracy"] > 0.85
    assert trained.history[-1]["step"] == 10 * (120 // 8)


def test_devices_change_nothing(trained):
    many = train(parallel="pmap")
    for a, b in zip(
        jax.tree.leaves(trained.params), jax.tree.leaves(many.params), strict=True
    ):
        np.testing.assert_allclose(a, b, atol=2e-4)


def test_a_run_goes_on_bit_for_bit(trained, tmp_path):
    class Killed(Exception):
        pass

    def kill(step):
        if step == 40:  # in the middle of an epoch
            raise Killed

    with pytest.raises(Killed):
        train(tmp_path, on_step=kill, checkpoint_every=7)
    again = train(tmp_path)
    assert again.history[0]["step"] > 7
    for a, b in zip(
        jax.tree.leaves(trained.params), jax.tree.leaves(again.params), strict=True
    ):
        np.testing.assert_array_equal(a, b)


def test_a_run_of_other_groups_is_refused(tmp_path):
    train(tmp_path, epochs=1)
    with pytest.raises(ValueError, match="cannot resume: batch_size was 16, is 8"):
        train(tmp_path, batch_size=8)
