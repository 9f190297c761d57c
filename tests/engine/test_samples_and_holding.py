"""Independent samples, held weights, a part of the parameters, weights of the heads."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mtl_jax import engine, train, weighting
from mtl_jax.weighting import base

T, B, D, H = 3, 48, 4, 5


class Seen(NamedTuple):
    """What the toy method was shown, and how often."""

    gramian: Any
    losses: Any
    mask: Any
    calls: Any


def toy(samples, **fields):
    """Weights that depend on every entry of a Gramian that is not symmetric."""

    def init(num_tasks, params=None):
        return Seen(
            jnp.zeros((num_tasks, num_tasks)),
            jnp.zeros(num_tasks),
            jnp.zeros(num_tasks, bool),
            jnp.zeros((), jnp.int32),
        )

    def update(gramian, state, *, losses, mask=None, **extra):
        weights = weights_for(gramian, jnp)
        dtype = state.gramian.dtype
        seen = Seen(gramian.astype(dtype), losses.astype(dtype), mask, state.calls + 1)
        return weights, seen

    return base.GramianWeighting(init, update, num_samples=samples, **fields)


def weights_for(gramian, numpy=np):
    ramp = numpy.arange(1.0, T + 1)
    return 1 + 0.5 * numpy.sin(0.2 * gramian @ ramp + 0.3 * ramp @ gramian)


def params(seed=0, num_tasks=T):
    rng = np.random.default_rng(seed)

    def normal(*shape):
        return jnp.asarray(rng.normal(size=shape), jnp.float32)

    shared = {
        "Dense_9": {"bias": normal(H), "kernel": normal(D, H)},
        "Dense_10": {"kernel": normal(H, H)},
    }
    return shared, {f"head_{t}": normal(H) for t in range(num_tasks)}


def data(seed=0, size=B, num_tasks=T):
    rng = np.random.default_rng(seed)
    return {
        "x": rng.normal(size=(size, D)).astype(np.float32),
        "y": rng.normal(size=(size, num_tasks)).astype(np.float32),
        "mask": np.ones((size, num_tasks), np.float32),
    }


def encode(shared, batch):
    first = shared["Dense_9"]
    return (
        jnp.tanh(batch["x"] @ first["kernel"] + first["bias"])
        @ shared["Dense_10"]["kernel"]
    )


def losses_at(specific, zs, batch):
    sums, counts = [], []
    for t, z in enumerate(zs):
        errors = (jnp.tanh(z @ specific[f"head_{t}"]) - batch["y"][:, t]) ** 2
        sums.append(jnp.sum(errors * batch["mask"][:, t]))
        counts.append(jnp.sum(batch["mask"][:, t]))
    return engine.TaskLosses(jnp.stack(sums), jnp.stack(counts))


def whole(shared, specific, batch):
    return losses_at(specific, (encode(shared, batch),) * len(specific), batch)


SPLIT = engine.SplitLosses(encode, losses_at, T)
FORMS = {"whole": whole, "split": SPLIT}


def bound(form, batch):
    """The loss function of the parameters alone."""
    return train.step.bind(FORMS[form], batch, key=None, collections=(), axis_name=None)


def plain_losses(shared, specific, batch):
    out = whole(shared, specific, batch)
    return out.sums / jnp.maximum(out.counts, 1)


def ravel(tree):
    return np.asarray(jax.flatten_util.ravel_pytree(tree)[0], np.float64)


@jax.jit
def rows_of(batch, shared, specific):
    grads = [
        jax.grad(lambda s, t=t: plain_losses(s, specific, batch)[t])(shared)
        for t in range(T)
    ]
    return jnp.stack([jax.flatten_util.ravel_pytree(g)[0] for g in grads])


def jacobian(batch, shared, specific):
    """`[T, P]`, one reverse pass a loss."""
    return np.asarray(rows_of(batch, shared, specific), np.float64)


@jax.jit
def heads_of(weights, batch, shared, specific):
    return jax.grad(lambda h: weights @ plain_losses(shared, h, batch))(specific)


def head_gradient(weights, batch, shared, specific):
    return ravel(heads_of(jnp.asarray(weights), batch, shared, specific))


def gradients(method, functions, shared, specific, state, **options):
    """`engine.gradients`, compiled as a whole."""

    def run(shared, specific, state, key):
        return engine.gradients(
            method, functions, shared, specific, state, key=key, **options
        )

    return jax.jit(run)(shared, specific, state, jax.random.key(0))


def close(a, b, **more):
    np.testing.assert_allclose(a, b, **{"rtol": 2e-4, "atol": 1e-5, **more})


# --- Independent samples ----------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("samples", [2, 3])
def test_the_matrix_is_of_two_samples_and_the_weights_go_to_the_last(samples, form):
    shared, specific = params()
    method = toy(samples)
    parts = [data(seed, 8) for seed in range(samples)]
    out = gradients(
        method,
        [bound(form, part) for part in parts],
        shared,
        specific,
        method.init(T),
    )
    js = [jacobian(part, shared, specific) for part in parts]
    close(out.gramian, js[0] @ js[1].T)
    assert not np.allclose(out.gramian, out.gramian.T, rtol=1e-2)
    weights = weights_for(js[0] @ js[1].T)
    close(out.weights, weights)
    close(ravel(out.shared), weights @ js[-1])
    # Heads conflict with nobody and learn from the whole batch, with weight 1.
    heads = [head_gradient(np.ones(T), part, shared, specific) for part in parts]
    close(ravel(out.specific), np.mean(heads, axis=0))
    mean = np.mean([plain_losses(shared, specific, p) for p in parts], axis=0)
    close(out.losses, mean)
    close(out.state.losses, mean)
    assert bool(out.finite)


def test_a_task_that_one_part_has_no_label_of_is_absent():
    shared, specific = params()
    method = toy(3)
    parts = [data(seed, 8) for seed in range(3)]
    parts[0]["mask"][:, 1] = 0  # the second part has labels: its column is not zero
    out = gradients(
        method,
        [bound("whole", part) for part in parts],
        shared,
        specific,
        method.init(T),
    )
    assert out.present.tolist() == [True, False, True]
    assert out.state.mask.tolist() == [True, False, True]
    gramian = np.asarray(out.state.gramian)
    assert not np.any(gramian[1])
    assert not np.any(gramian[:, 1])
    assert np.all(gramian[np.ix_([0, 2], [0, 2])] != 0)
    assert float(out.losses[1]) == float(out.weights[1]) == 0.0
    assert bool(out.finite)


def test_another_number_of_loss_functions_than_samples_is_an_error():
    shared, specific = params()
    parts = [bound("whole", data(seed, 8)) for seed in range(2)]
    for given, method in ((parts, toy(3)), (parts, toy(1)), (parts[0], toy(2))):
        with pytest.raises(ValueError, match="independent samples and was given"):
            gradients(method, given, shared, specific, method.init(T))


def test_a_batch_too_small_for_the_samples_is_an_error():
    step, state = start(toy(3), devices=1)
    with pytest.raises(ValueError, match="takes 3 independent samples a step"):
        step(state, data(0, 2))


def start(method, devices, form="whole", at="parameters", rate=0.3, seed=0):
    shared, specific = params(seed)
    optimizer = optax.sgd(rate)
    state = train.create(
        shared, specific, method=method, optimizer=optimizer, num_tasks=T
    )
    step = train.make_train_step(
        FORMS[form],
        method,
        optimizer,
        at=at,
        parallel="pmap" if devices > 1 else "jit",
        devices=jax.devices()[:devices],
    )
    return step, state


def run(method, devices, *, steps=4, regroup=1, **options):
    step, state = start(method, devices, **options)
    outputs = []
    for i in range(steps):
        batch = jax.tree.map(lambda a: grouped(a, devices, regroup), data(i))
        state, out = step(state, batch)
        outputs.append(jax.device_get(out))
    return jax.device_get(state), outputs


def grouped(array, devices, samples):
    """So ordered that sample i over all devices is the i-th part of the array."""
    parts = array.reshape(samples, devices, -1, *array.shape[1:])
    return np.swapaxes(parts, 0, 1).reshape(array.shape)


def check_devices(method, devices, **options):
    one, out_one = run(method, 1, **options)
    many, out_many = run(method, devices, **options)
    moved = np.abs(ravel(one.shared) - ravel(params()[0])).max()
    assert moved > 0.03
    for part in ("shared", "specific"):
        close(ravel(getattr(one, part)), ravel(getattr(many, part)), atol=1e-5)
    for a, b in zip(out_one, out_many, strict=True):
        assert bool(a.finite)
        assert bool(b.finite)
        close(a.losses, b.losses)
        close(a.weights, b.weights, rtol=2e-3, atol=1e-4)
        if a.gramian is not None:
            close(a.gramian, b.gramian, rtol=2e-3, atol=1e-4)  # NaN equals NaN
    return many, out_many


@pytest.mark.parametrize(("samples", "devices"), [(2, 2), (3, 8)])
def test_samples_on_many_devices_are_the_same_as_on_one(samples, devices):
    check_devices(toy(samples), devices, regroup=samples)


def test_a_train_step_cuts_the_batch_in_order():
    method = toy(2)
    step, state = start(method, devices=1, rate=0.0)
    shared, specific = params()
    batch = data(3)
    state, out = step(state, batch)
    halves = [
        jax.tree.map(lambda a, h=h: a[h * 24 : h * 24 + 24], batch) for h in (0, 1)
    ]
    one, two = (jacobian(half, shared, specific) for half in halves)
    close(out.gramian, one @ two.T)
    close(state.weighting.gramian, one @ two.T)


# --- Held weights -----------------------------------------------------------------


@pytest.mark.parametrize("at", ["parameters", "representation"])
def test_held_steps_use_the_weights_of_the_last_look(at):
    method = weighting.every_k(toy(1), 3)
    step, state = start(method, devices=1, form="split", at=at)
    seen = []
    for i in range(7):
        shared, specific, batch = state.shared, state.specific, data(i)
        before = jax.tree.map(jnp.copy, (shared, specific))
        state, out = step(state, batch)
        assert bool(out.finite), "a held step is not a skipped step"
        held = i % 3 != 0
        assert np.all(np.isnan(out.gramian)) == held
        assert np.any(np.isnan(out.gramian)) == held
        if held:
            np.testing.assert_array_equal(out.weights, seen[-1])
        seen.append(np.asarray(out.weights))
        step_taken = (ravel(before[0]) - ravel(state.shared)) / 0.3
        direction = seen[-1] @ jacobian(batch, *before)
        close(step_taken, direction, atol=1e-4)
        heads = head_gradient(np.ones(T), batch, *before)
        close((ravel(before[1]) - ravel(state.specific)) / 0.3, heads, atol=1e-4)
    assert int(state.skipped) == 0
    assert not np.allclose(seen[0], seen[3], rtol=1e-3)
    assert not np.allclose(seen[3], seen[6], rtol=1e-3)
    assert int(state.weighting.step) == 7


@pytest.mark.parametrize("at", ["parameters", "representation"])
def test_holding_on_many_devices_is_the_same_as_on_one(at):
    method = weighting.every_k(toy(1), 3)
    check_devices(method, 8, form="split", at=at)


def test_holding_with_samples_and_a_part_on_many_devices():
    method = weighting.every_k(weighting.restrict(toy(2), "last"), 2)
    many, outputs = check_devices(method, 4, regroup=2)
    assert int(many.weighting.inner.calls) == 2
    assert [bool(np.isnan(out.gramian[0, 0])) for out in outputs] == [False, True] * 2


def test_a_step_that_is_not_finite_is_no_look():
    """The state stays, and the next step looks."""
    method = weighting.every_k(toy(1), 3)
    step, state = start(method, devices=1)
    bad = data(0)
    bad["x"][0, 0] = np.nan
    state, out = step(state, bad)
    assert not bool(out.finite)
    assert int(state.weighting.step) == 0
    state, out = step(state, data(1))
    assert bool(out.finite)
    assert np.all(np.isfinite(out.gramian))


def shapes_of(jaxpr, inside=False):
    """Shapes of all results: outside of any `cond`, and per branch of the cond."""
    outside, branches = set(), []
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == "cond" and not inside:
            for branch in eqn.params["branches"]:
                branches.append(shapes_of(branch.jaxpr, inside=True)[0])
            continue
        outside |= {v.aval.shape for v in eqn.outvars}
        for value in eqn.params.values():
            for sub in jax.tree.leaves(
                value, is_leaf=lambda x: hasattr(x, "eqns") or hasattr(x, "jaxpr")
            ):
                sub = getattr(sub, "jaxpr", sub)
                if hasattr(sub, "eqns"):
                    more, deeper = shapes_of(sub, inside)
                    outside |= more
                    branches += deeper
    return outside, branches


def test_the_backward_passes_of_the_tasks_are_inside_the_branch():
    method = weighting.every_k(toy(1), 3)
    shared, specific = params()
    state = method.init(T)

    def grads(shared, specific, state, batch):
        losses_fn = [lambda s, h: whole(s, h, batch)]
        out = engine.gradients(
            method, losses_fn, shared, specific, state, gramian="materialise"
        )
        return out.shared, out.specific, out.weights, out.state

    batch = jax.tree.map(jnp.asarray, data(0))
    jaxpr = jax.make_jaxpr(grads)(shared, specific, state, batch).jaxpr
    outside, branches = shapes_of(jaxpr)
    rows = (T, D, H)  # the gradients of all tasks with respect to one leaf
    assert rows not in outside
    assert sum(rows in shapes for shapes in branches) == 1
    compiled = jax.jit(grads).lower(shared, specific, state, batch).compile()
    assert " conditional(" in compiled.as_text(), "a select would run both branches"


def test_holding_with_float64_parameters_and_float32_losses():
    with jax.enable_x64(True):
        a = np.random.default_rng(0).normal(size=(T, 7))

        def losses_fn(shared, specific):
            return ((jnp.asarray(a) @ shared) ** 2).astype(jnp.float32)

        method = weighting.every_k(toy(1), 2)
        state = method.init(T)
        shared = jnp.ones(7)
        first = engine.gradients(method, losses_fn, shared, {}, state)
        second = engine.gradients(method, losses_fn, shared, {}, first.state)
        assert first.shared.dtype == second.shared.dtype == jnp.float64
        close(first.shared, second.shared)
        np.testing.assert_array_equal(first.weights, second.weights)
        assert np.all(np.isnan(second.gramian))


# --- A part of the parameters -----------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_the_gramian_is_of_the_part_and_the_weights_of_all(form):
    shared, specific = params()
    batch = data(1)
    full = jacobian(batch, shared, specific)
    last = full[:, : H * H]  # Dense_10 is the first in the order of the leaves
    for where, columns in (
        ("last", last),
        ("Dense_9", full[:, H * H :]),
        ("all", full),
    ):
        method = weighting.restrict(toy(1), where)
        out = gradients(method, bound(form, batch), shared, specific, method.init(T))
        close(out.gramian, columns @ columns.T)
        close(out.weights, weights_for(columns @ columns.T))
        close(ravel(out.shared), np.asarray(out.weights) @ full)
        assert np.all(np.asarray(out.shared["Dense_9"]["kernel"]) != 0)


def test_a_part_on_many_devices_is_the_same_as_on_one():
    check_devices(weighting.restrict(toy(1), "last"), 8)


def test_a_part_of_two_samples():
    shared, specific = params()
    parts = [data(seed, 8) for seed in range(3)]
    method = weighting.restrict(toy(3), "last")
    out = gradients(
        method, [bound("whole", p) for p in parts], shared, specific, method.init(T)
    )
    js = [jacobian(part, shared, specific) for part in parts]
    close(out.gramian, js[0][:, : H * H] @ js[1][:, : H * H].T)
    close(ravel(out.shared), np.asarray(out.weights) @ js[2])


def test_what_is_not_looked_at_is_not_differentiated_task_by_task():
    shared, specific = params()
    batch = jax.tree.map(jnp.asarray, data(0))

    def compiled(method):
        def grads(shared, specific):
            out = engine.gradients(
                method, lambda s, h: whole(s, h, batch), shared, specific, ()
            )
            return out.shared, out.weights

        return jax.jit(grads).lower(shared, specific).compile().as_text()

    rows = f"f32[{T},{D},{H}]"
    assert rows in compiled(base.GramianWeighting(base.no_state, half))
    last = base.GramianWeighting(base.no_state, half)
    assert rows not in compiled(weighting.restrict(last, "last"))


def half(gramian, state, **extra):
    return 0.5 + 0 * jnp.diagonal(gramian), state


# --- Weights of the heads ---------------------------------------------------------


class Own(NamedTuple):
    """A state that tells the weights of the heads."""

    heads: Any


def with_own_heads(kind, rule):
    """Weights 2, 3, 4 and, in the state, 5, 6, 7."""

    def init(num_tasks, params=None):
        return Own(jnp.zeros(num_tasks))

    def update(statistic, state, **extra):
        ramp = jnp.arange(2.0, 2 + T)
        return ramp, Own(ramp + 3)

    return kind(init, update, weigh_heads=rule)


KINDS = [base.LossWeighting, base.GramianWeighting]
RULES = {
    "true": (True, [2.0, 3.0, 4.0]),
    "false": (False, [1.0, 1.0, 1.0]),
    "own": (lambda state: state.heads, [5.0, 6.0, 7.0]),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_the_rule_of_the_heads(kind, rule, form):
    shared, specific = params()
    batch = data(2)
    batch["mask"][:, 2] = np.arange(B) < 5
    rule, expected = RULES[rule]
    method = with_own_heads(kind, rule)
    places = ["parameters", "representation"] if form == "split" else ["parameters"]
    for at in places:
        out = gradients(
            method, bound(form, batch), shared, specific, method.init(T), at=at
        )
        close(out.weights, [2.0, 3.0, 4.0])
        close(ravel(out.shared), [2.0, 3.0, 4.0] @ jacobian(batch, shared, specific))
        close(ravel(out.specific), head_gradient(expected, batch, shared, specific))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_the_head_of_an_absent_task_stays(kind, rule):
    shared, specific = params()
    batch = data(2)
    batch["mask"][:, 1] = 0
    method = with_own_heads(kind, RULES[rule][0])
    out = gradients(method, bound("whole", batch), shared, specific, method.init(T))
    assert bool(out.finite)
    assert not np.any(np.asarray(out.specific["head_1"]))
    assert np.all(np.asarray(out.specific["head_2"]) != 0)
    assert out.weights.tolist() == [2.0, 0.0, 4.0]


@pytest.mark.parametrize("rule", RULES)
def test_the_rule_of_the_heads_on_held_steps_and_of_several_samples(rule):
    shared, specific = params()
    rule, expected = RULES[rule]
    method = with_own_heads(base.GramianWeighting, rule)
    held = weighting.every_k(method._replace(num_samples=2), 2)
    parts = [data(seed, 8) for seed in range(2)]
    functions = [bound("whole", part) for part in parts]
    state = held.init(T)
    for _ in range(2):  # a look, and a held step
        out = gradients(held, functions, shared, specific, state)
        state = out.state
        heads = [head_gradient(expected, part, shared, specific) for part in parts]
        close(ravel(out.specific), np.mean(heads, axis=0))
        close(ravel(out.shared), [2.0, 3.0, 4.0] @ jacobian(parts[1], shared, specific))


def test_a_loss_weighting_that_does_not_weigh_heads_on_many_devices():
    method = weighting.static([0.5, 2.0, 1.0])
    check_devices(weighting.with_head_weights(method, "ones"), 8)


# --- At the representation --------------------------------------------------------


def test_what_has_no_meaning_at_the_representation_is_an_error():
    shared, specific = params()
    aggregator = weighting.graddrop()._replace(at_representation=False)
    parts = [data(seed, 8) for seed in range(2)]
    cases = [
        (weighting.restrict(toy(1), "last"), 1, "looks at a part of the"),
        (toy(2), 2, "compares gradients of different examples"),
        (aggregator, 1, "remembers gradients from step to step"),
    ]
    for method, count, why in cases:
        functions = [bound("split", part) for part in parts[:count]]
        with pytest.raises(ValueError) as error:
            gradients(
                method,
                functions,
                shared,
                specific,
                method.init(T, shared),
                at="representation",
            )
        assert why in str(error.value)
        assert "Use at='parameters'" in str(error.value)
        out = gradients(
            method,
            functions,
            shared,
            specific,
            method.init(T, shared),
        )
        assert bool(out.finite)
