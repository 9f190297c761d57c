"""Rates by part, against optimizers that are run by hand on each part."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mtl_jax import build, config, models, parts
from mtl_jax.stacked import Stacked

RATE = 0.1
RNG = np.random.default_rng(0)


def adamw(rate, start=0):
    return optax.adamw(RATE * rate, weight_decay=0.1)


def array(*shape):
    return jnp.asarray(RNG.normal(size=shape), jnp.float32)


def params():
    """A trunk, and three heads of which two are alike."""
    heads = Stacked(
        [("heads_a", "heads_b"), ("heads_c",)],
        [{"kernel": array(2, 3, 2)}, {"kernel": array(1, 3, 5)}],
    )
    return {"trunk": {"one": array(4, 3), "two": array(3, 3)}}, heads


def by_hand(values, gradients, rate, start):
    """The leaf after steps of an optimizer of its own, which begins at `start`."""
    optimizer = adamw(rate)
    state = optimizer.init(values)
    for step, gradient in enumerate(gradients):
        if step < start or rate == 0:
            continue
        change, state = optimizer.update(gradient, state, values)
        values = values + change
    return values


def trained(optimizer, values, gradients):
    state = optimizer.init(values)
    update = jax.jit(optimizer.update)
    for gradient in gradients:
        change, state = update(gradient, state, values)
        values = optax.apply_updates(values, change)
    return values, state


def test_each_part_is_as_if_alone_from_its_own_time_on():
    """Rows of one stack too: Adam's moments and counts begin when the part does."""
    before = params()
    gradients = [jax.tree.map(lambda a: array(*a.shape), before) for _ in range(4)]
    rules = [
        parts.Part("trunk/one", rate=0.0),
        parts.Part("^shared/", rate=0.5, from_step=2),
        parts.Part("heads_b/kernel", rate=2.0, from_step=1),
    ]
    (shared, heads), _ = trained(parts.by_part(adamw, rules), before, gradients)

    def wanted(pick, rate, start=0):
        return by_hand(pick(before), [pick(g) for g in gradients], rate, start)

    np.testing.assert_array_equal(shared["trunk"]["one"], before[0]["trunk"]["one"])
    pairs = [
        (shared["trunk"]["two"], wanted(lambda t: t[0]["trunk"]["two"], 0.5, 2)),
        (heads["heads_a"]["kernel"], wanted(lambda t: t[1]["heads_a"]["kernel"], 1.0)),
        (
            heads["heads_b"]["kernel"],
            wanted(lambda t: t[1]["heads_b"]["kernel"], 2.0, 1),
        ),
        (heads["heads_c"]["kernel"], wanted(lambda t: t[1]["heads_c"]["kernel"], 1.0)),
    ]
    for found, hand in pairs:
        np.testing.assert_allclose(found, hand, rtol=1e-5, atol=1e-6)
    assert heads.groups == before[1].groups


def test_alike_heads_of_one_part_stay_one_array():
    """And the optimizer's state has no more leaves than without parts."""
    before = params()
    for where, leaves in (("heads", 2 * 4), ("heads_a", 2 * 5)):
        state = parts.by_part(adamw, [parts.Part(where, 0.1)]).init(before)
        moments = [leaf for leaf in jax.tree.leaves(state) if leaf.ndim]
        assert len(moments) == leaves


def test_a_frozen_part_does_not_count_in_the_norm_that_is_clipped():
    before = {"trunk": jnp.zeros(2), "head": jnp.zeros(2)}
    gradients = [{"trunk": jnp.full(2, 100.0), "head": jnp.array([3.0, 4.0])}]
    optimizer = parts.by_part(
        lambda rate, _: optax.sgd(rate),
        [parts.Part("trunk", 0.0)],
        before=optax.clip_by_global_norm(1.0),
    )
    after, _ = trained(optimizer, before, gradients)
    np.testing.assert_allclose(after["head"], [-0.6, -0.8], rtol=1e-6)
    assert not after["trunk"].any()


def test_a_schedule_is_that_of_the_run():
    """A part that begins late goes on with the rate that the run has by then."""
    settings = config.OptimizerConfig(
        "sgd", 1.0, schedule="cosine", parts=(config.PartConfig("trunk", 0.5, 1),)
    )
    before = {"trunk": jnp.zeros(1), "head": jnp.zeros(1)}
    gradients = [jax.tree.map(jnp.ones_like, before)] * 4
    optimizer = build.build_optimizer(settings, num_steps=4, steps_per_epoch=2)
    after, _ = trained(optimizer, before, gradients)
    rates = [0.5 * (1 + np.cos(np.pi * step / 4)) for step in range(4)]
    np.testing.assert_allclose(after["head"], -sum(rates), rtol=1e-5)
    np.testing.assert_allclose(after["trunk"], -0.5 * sum(rates[2:]), rtol=1e-5)


def test_names_are_those_of_a_model():
    heads = {"digit": nn.Dense(3), "odd": nn.Dense(3)}
    model = models.from_linen(models.HardSharing(models.MLP((4,)), heads))
    variables = model.init(jax.random.key(0), jnp.ones((1, 2)))
    pair = variables.shared, variables.specific
    for where in ("^shared/trunk/Dense_0/kernel$", "^specific/heads_odd/bias$"):
        parts.by_part(adamw, [parts.Part(where)]).init(pair)
    with pytest.raises(ValueError, match=r"no parameter has 'body' "):
        parts.by_part(adamw, [parts.Part("body")]).init(pair)
    with pytest.raises(
        ValueError, match="'trunk/Dense_0' in its name is of an earlier"
    ):
        both = [parts.Part("trunk"), parts.Part("trunk/Dense_0")]
        parts.by_part(adamw, both).init(pair)
    with pytest.raises(ValueError, match=r"given rate=-1\.0; rates are factors"):
        parts.by_part(adamw, [parts.Part("trunk", -1.0)])
    with pytest.raises(ValueError, match="no regular expression"):
        parts.by_part(adamw, [parts.Part("(")])
