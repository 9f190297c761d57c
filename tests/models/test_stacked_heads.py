"""Heads that are alike are one: the same results as one by one, and named outside."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import mtl_jax as mtl
from mtl_jax import (
    checkpoint,
    engine,
    losses,
    models,
    objective,
    parallel,
    stacked,
    tasks,
    train,
    weighting,
)
from mtl_jax.models.mixed_precision import in_dtype
from mtl_jax.stacked import Stacked, named

B = 16
# Two groups of heads whose tasks are not neighbours; within them other losses, masks of
# the data and of the task, a task without any label, and label dtypes that differ.
TASKS = (
    tasks.classification("cat", 3),
    tasks.binary("yes"),
    tasks.classification("dog", 3, weight=2.0),
    tasks.regression("mass", weight=0.5),
    tasks.binary("odd"),
    tasks.binary("sly", mask=lambda y: y >= 0),
    tasks.binary("shy", mask=lambda y: y >= 0),
)
T = len(TASKS)
HEADS = {t.name: t.num_outputs for t in TASKS}


def make_batch(seed=0, size=B):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(size, 6)).astype(np.float32)
    half = np.arange(size) % 2 == 0
    return {
        "inputs": x,
        "labels": {
            "cat": rng.integers(0, 3, size),
            "yes": rng.integers(0, 2, size),
            "dog": rng.integers(0, 3, size),
            "mass": np.where(half, x.sum(1), np.nan).astype(np.float32),
            "odd": np.full(size, 7),
            "sly": rng.integers(-1, 2, size),
            "shy": rng.uniform(0, 1, size).astype(np.float32),
        },
        "masks": {"mass": half, "odd": np.zeros(size, bool)},
    }


class Head(nn.Module):
    """A head with mutable state and noise."""

    width: int
    rate: float = 0.0

    @nn.compact
    def __call__(self, z, train=False):
        z = nn.BatchNorm(use_running_average=not train)(nn.Dense(4)(z))
        z = nn.Dropout(self.rate, deterministic=not train)(nn.relu(z))
        return nn.Dense(self.width)(z)


def pair_of(head=nn.Dense):
    """The same network stacked and one by one, with the same variables."""
    net = models.HardSharing(
        models.MLP((8, 5)), {n: head(width) for n, width in HEADS.items()}
    )
    together, apart = (models.from_linen(net, stack_heads=s) for s in (True, False))
    variables = jax.jit(together.init)(jax.random.key(0), jnp.ones((1, 6)))
    return (together, variables), (apart, named(variables))


def close(a, b, rtol=2e-5, atol=2e-6):
    a, b = named(jax.device_get((a, b)))
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, rtol=rtol, atol=atol)


def losses_of(model, variables, batch, key=None):
    return train.step.bind(
        objective.make_losses(model, TASKS),
        batch,
        key=key,
        collections=variables.collections,
        axis_name=None,
    )


CASES = [
    ("equal", "parameters"),
    ("uw", "parameters"),
    ("focal", "parameters"),  # looks at the kpi
    ("pcgrad", "parameters"),
    ("mgda", "representation"),
    ("graddrop", "parameters"),
]


def test_every_kind_of_method_sees_the_same():
    batch = make_batch()

    def results(model, batch, variables):
        split = losses_of(model, variables, batch)
        params = variables.shared, variables.specific
        found = []
        for name, at in CASES:
            method = weighting.make(name)
            state = method.init(T, variables.shared)
            if name == "pcgrad":
                method = method._replace(weigh_heads=True)
            key = jax.random.key(3)
            out = engine.gradients(method, split, *params, state, key=key, at=at)
            found.append(out._replace(state=None))
        return found, engine.evaluate_losses(split, *params)

    one, other = pair_of()
    assert len(jax.tree.leaves(one[1].specific)) == 4
    assert len(jax.tree.leaves(other[1].specific)) == 2 * T
    expected = jax.jit(functools.partial(results, other[0], batch))(other[1])
    run = jax.jit(functools.partial(results, one[0]))
    found = run(objective.pack(batch), one[1])
    close(found, expected)
    gradients = found[0][0]
    assert isinstance(gradients.specific, Stacked)
    assert gradients.present.tolist() == [True] * 4 + [False] + [True] * 2
    kernels = {n: gradients.specific[f"heads_{n}"]["kernel"] for n in HEADS}
    assert [bool(np.any(kernels[n] != 0)) for n in HEADS] == [True] * 4 + [
        False,
        True,
        True,
    ]


def test_labels_may_come_in_any_form():
    batch = make_batch()
    outputs = {t.name: jnp.ones((B, HEADS[t.name])) for t in TASKS}
    expected = objective.task_losses(TASKS, outputs, batch)
    found = objective.task_losses(TASKS, outputs, objective.pack(batch))
    close(found, expected)
    assert expected.counts.tolist()[3:5] == [B / 2, 0]
    partly = {**batch, "masks": {"odd": batch["masks"]["odd"]}}
    partly["valid"] = np.arange(B) < 5
    found = objective.task_losses(TASKS, outputs, partly)
    sly = (batch["labels"]["sly"][:5] >= 0).sum()
    assert found.counts.tolist()[3:6] == [5, 0, sly]


def test_heads_with_noise_draw_it_each_for_itself():
    (model, variables), _ = pair_of(functools.partial(Head, rate=0.5))
    batch, key = make_batch(), jax.random.key(5)
    z = model.encode(variables.shared, (), batch["inputs"])[0]
    collections = variables.collections[1]

    @jax.jit
    def both(specific, key):
        together, changed = model.stacked.apply(
            specific, collections, z, train=True, key=key
        )
        alone, changed_alone = model.decode(
            specific, collections, dict.fromkeys(HEADS, z), train=True, key=key
        )
        return dict(together), changed, alone, changed_alone

    together, changed, alone, changed_alone = both(variables.specific, key)
    close(together, alone)
    close(changed, changed_alone)
    assert not np.allclose(
        together["cat"], both(variables.specific, jax.random.key(6))[0]["cat"]
    )
    # Equal parameters, other noise.
    same = variables.specific.map_groups(
        lambda _, stack: jax.tree.map(lambda a: jnp.broadcast_to(a[:1], a.shape), stack)
    )
    assert not np.allclose(*[both(same, key)[0][name] for name in ("cat", "dog")])

    def gradients(specific, key):
        split = losses_of(model, variables, batch, key)
        method = weighting.make("metabalance")
        forms = split, split._replace(stacked=None)
        params = variables.shared, specific
        return [
            engine.gradients(method, form, *params, method.init(T), at="representation")
            for form in forms
        ]

    close(*jax.jit(gradients)(variables.specific, key))


def test_heads_compute_in_half_precision():
    (model, variables), _ = pair_of()
    batch, params = make_batch(), (variables.shared, variables.specific)

    @jax.jit
    def gradients(*params):
        method, found = weighting.make("metabalance"), []
        for dtype in ("bfloat16", "float32"):
            split = losses_of(in_dtype(model, dtype), variables, batch)
            for form in (split, split._replace(stacked=None)):
                out = engine.gradients(
                    method, form, *params, method.init(T), at="representation"
                )
                found.append((out.losses, out.specific))
        return found

    together, alone, wide, _ = gradients(*params)
    close(together, alone, rtol=0.02, atol=2e-3)
    assert {leaf.dtype for leaf in jax.tree.leaves(together)} == {np.dtype("float32")}
    kernels = [found[1]["heads_dog"]["kernel"] for found in (together, wide)]
    assert 1e-4 < np.abs(kernels[0] - kernels[1]).max() < 0.05


def train_on(model, variables, devices, method="metabalance", at="representation"):
    method, optimizer = weighting.make(method), optax.sgd(0.1)
    state = train.create(
        variables.shared,
        variables.specific,
        method=method,
        optimizer=optimizer,
        num_tasks=T,
        collections=variables.collections,
    )
    step = train.make_train_step(
        objective.make_losses(model, TASKS),
        method,
        optimizer,
        at=at,
        parallel="pmap",
        devices=jax.devices()[:devices],
    )
    for seed in range(3):
        state, output = step(state, objective.pack(make_batch(seed, 32)))
    return state.shared, state.specific, state.collections, output


def test_eight_devices_equal_one_and_heads_one_by_one():
    one, other = pair_of(Head)
    eight = train_on(*one, 8)
    close(eight, train_on(*other, 1), rtol=1e-4, atol=2e-5)
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), eight[1], one[1].specific)
    assert max(jax.tree.leaves(moved)) > 0.03


def test_program_is_no_longer_for_more_tasks():
    def lengths(count):
        names = [f"t{i}" for i in range(count)]
        net = models.HardSharing(
            models.MLP((4,)), {n: Head(1, rate=0.1) for n in names}
        )
        model, task_list = models.from_linen(net), [tasks.binary(n) for n in names]
        labels = {n: np.zeros(4, np.int64) for n in names}
        masks = {n: np.ones(4, bool) for n in names}
        batch = {"inputs": np.ones((4, 3), np.float32), "labels": labels}
        packed = objective.pack({**batch, "masks": masks})
        variables = jax.eval_shape(model.init, jax.random.key(0), batch["inputs"])
        state = variables.shared, variables.specific, variables.collections

        def step(state, batch):
            split = train.step.bind(
                objective.make_losses(model, task_list),
                batch,
                key=jax.random.key(0),
                collections=state[2],
                axis_name=None,
            )
            method = weighting.make("metabalance")
            start = method.init(count)
            out = engine.gradients(method, split, *state[:2], start)
            return optax.adam(0.1).init((out.shared, out.specific)), out.losses

        text = jax.jit(step).lower(state, packed).as_text()
        return text.count("\n")

    assert lengths(3) == lengths(9)


def test_initial_values_depend_on_the_name_alone():
    key, x = jax.random.key(1), jnp.ones((1, 6))
    net = models.HardSharing(models.MLP((8,)), {n: nn.Dense(3) for n in "abc"})
    model = models.from_linen(net)
    first = jax.jit(model.init)(key, x)
    close(first.shared, models.from_linen(net, stack_heads=False).init(key, x).shared)
    kernels = [first.specific[f"heads_{n}"]["kernel"] for n in "abc"]
    assert not np.allclose(kernels[0], kernels[1])
    other = {"z": nn.Dense(2), "c": nn.Dense(3), "a": nn.Dense(3)}
    second = models.from_linen(models.HardSharing(models.MLP((8,)), other)).init(key, x)
    assert second.specific.groups == (("heads_z",), ("heads_c", "heads_a"))
    for n in "ac":
        close(second.specific[f"heads_{n}"], first.specific[f"heads_{n}"])
    scale = np.std(np.concatenate(kernels)) * np.sqrt(8)
    assert 0.7 < scale < 1.4, "lecun_normal of a single head, fan-in 8"


def groups_of(heads, net=models.HardSharing, **options):
    model = models.from_linen(net(models.MLP((4,)), heads), **options)
    specific = model.init(jax.random.key(0), jnp.ones((1, 2))).specific
    return getattr(specific, "groups", None), sorted(specific)


def test_heads_are_stacked_where_they_are_alike():
    init = nn.initializers.normal(0.1)
    heads = {
        "a": nn.Sequential([nn.Dense(3), nn.relu, nn.Dense(1)]),
        "b": nn.Sequential([nn.Dense(3), nn.tanh, nn.Dense(1)]),
        "c": nn.Dense(1, kernel_init=init),
        "d": nn.Sequential([nn.Dense(3), nn.relu, nn.Dense(1)]),
        "e": nn.Dense(1, kernel_init=init, name="mine"),
        "f": nn.Dense(1, kernel_init=nn.initializers.normal(0.1)),
        "g": nn.Dense(1, use_bias=False),
        "h": nn.Sequential([nn.Dense(3), nn.relu, nn.Dense(1, name="out")]),
    }
    groups, names = groups_of(heads)
    assert groups == (
        ("heads_a", "heads_d", "heads_h"),
        ("heads_b",),
        ("heads_c", "heads_e"),
        ("heads_f",),
        ("heads_g",),
    )
    assert names == groups_of(heads, stack_heads=False)[1]
    assert groups_of(heads, stack_heads=False)[0] is None


def test_heads_are_not_stacked_where_they_are_more_than_heads():
    shared = nn.Dense(2)
    assert groups_of({"a": shared, "b": shared, "c": nn.Dense(2)})[0] is None

    class Chained(models.HardSharing):
        def decode(self, representations, train=False):
            outputs = super().decode(representations, train)
            return {name: 2 * out for name, out in outputs.items()}

    assert groups_of({"a": nn.Dense(2), "b": nn.Dense(2)}, Chained)[0] is None


def test_a_users_module_may_ask_for_it():
    class Net(nn.Module):
        stem: nn.Module
        outs: dict

        shared_names = ("stem", "neck")
        head_field = "outs"

        def setup(self):
            self.neck = nn.Dense(3)

        def encode(self, x, train=False):
            return nn.relu(self.neck(self.stem(x)))

        def decode(self, representations, train=False):
            return {name: self.outs[name](z) for name, z in representations.items()}

        def __call__(self, x, train=False):
            z = self.encode(x, train)
            return self.decode(dict.fromkeys(self.outs, z), train)

    net = Net(nn.Dense(4), {"a": nn.Dense(2), "b": nn.Dense(2)})
    model = models.from_linen(net)
    x = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    variables = model.init(jax.random.key(0), x)
    assert variables.specific.groups == (("outs_a", "outs_b"),)
    params = {**variables.shared, **variables.specific}
    close(model.apply(*variables, x)[0], net.apply({"params": params}, x))

    class Forgot(Net):
        shared_names = ("stem",)

    forgot = models.from_linen(Forgot(nn.Dense(4), net.outs))
    with pytest.raises(ValueError, match=r"encode has the variables \['neck'\]"):
        forgot.init(jax.random.key(0), x)


def state_of(model, variables, optimizer):
    return train.create(
        variables.shared,
        variables.specific,
        method=weighting.make("uw"),
        optimizer=optimizer,
        num_tasks=T,
        collections=variables.collections,
    )


def test_checkpoints_name_every_head_and_fit_either_form(tmp_path):
    optimizer = optax.adam(0.1)
    one, other = (state_of(*pair, optimizer) for pair in pair_of(Head))
    hosts = [checkpoint.leaves.to_host(state) for state in (one, other)]
    assert [x.record for x in hosts[0].values()] == [
        x.record for x in hosts[1].values()
    ]
    assert list(hosts[0]) == list(hosts[1])
    assert "specific/heads_dog/Dense_0/kernel" in hosts[0]
    assert "optimizer/0/mu/1/heads_dog/Dense_0/kernel" in hosts[0]
    assert "collections/1/batch_stats/heads_dog/BatchNorm_0/mean" in hosts[0]
    forms = one, other
    for i, state in enumerate(forms):
        with checkpoint.Checkpoints(tmp_path / str(i)) as saved:
            saved.save(1, state, meta={})
            for like in forms:
                blank = jax.tree.map(jnp.zeros_like, like)
                restored = saved.restore(blank).state
                assert jax.tree.structure(restored) == jax.tree.structure(like)
                same = jax.tree.map(
                    lambda a, b: a.dtype == b.dtype and bool(jnp.all(a == b)),
                    restored,
                    like,
                )
                assert all(jax.tree.leaves(same))


def test_restored_stacks_lie_where_the_state_lies(tmp_path):
    devices = jax.devices()[:2]
    (_, variables), _ = pair_of()
    state = train.create(
        variables.shared,
        variables.specific,
        method=weighting.make("equal"),
        optimizer=optax.sgd(0.1),
        num_tasks=T,
    )
    placed = parallel.place(state, devices)
    with checkpoint.Checkpoints(tmp_path) as saved:
        saved.save(1, placed, meta={})
        restored = saved.restore(placed).state
        shapes = jax.eval_shape(lambda: jax.tree.map(jnp.copy, state))
        by_shape = saved.restore(shapes).state
    close(by_shape.specific, state.specific)
    for leaf in jax.tree.leaves(restored.specific):
        assert leaf.sharding.device_set == set(devices)


def test_evaluation_prediction_and_parameters_by_name():
    one, other = pair_of()
    batch = make_batch(size=40)
    source = mtl.data.ArraySource(batch["inputs"], batch["labels"], batch["masks"])
    rows = []
    for model, variables in (one, other):
        state = state_of(model, variables, optax.sgd(0.1))
        evaluate = train.make_evaluation(model, TASKS, parallel="jit")
        rows.append(evaluate(state, source, 16))
    assert list(rows[0]) == list(rows[1])
    assert {"dog/accuracy", "sly/auc", "mass/r2", "shy/loss"} <= set(rows[0])
    for key, value in rows[0].items():
        assert value == pytest.approx(rows[1][key], rel=1e-5, nan_ok=True), key

    chosen = [t for t in TASKS if t.name in ("yes", "cat", "dog")]
    heads = {t.name: nn.Dense(t.num_outputs) for t in chosen}
    result = mtl.fit(
        models.HardSharing(models.MLP((4,)), heads),
        chosen,
        mtl.data.from_arrays(
            batch["inputs"], {t.name: batch["labels"][t.name] for t in chosen}
        ),
        epochs=1,
        batch_size=8,
        parallel="jit",
    )
    assert sorted(result.params["specific"]) == ["heads_cat", "heads_dog", "heads_yes"]
    kernel = result.params["specific"]["heads_dog"]["kernel"]
    assert isinstance(kernel, np.ndarray)
    assert kernel.shape == (4, 3)
    z, _ = result.model.encode(result.state.shared, (), batch["inputs"])
    outputs = z @ kernel + result.params["specific"]["heads_dog"]["bias"]
    np.testing.assert_allclose(
        result.outputs(batch["inputs"])["dog"], outputs, rtol=1e-4, atol=1e-5
    )


def test_a_task_without_a_head_and_a_head_without_a_task():
    (model, variables), _ = pair_of()
    more = (*TASKS, tasks.binary("dig"))
    batch = make_batch()
    batch["labels"]["dig"] = batch["labels"]["yes"]
    out = objective.make_losses(model, more).stacked
    z = jnp.ones((B, 5))
    how = {"key": None, "collections": (), "axis_name": None}
    with pytest.raises(ValueError, match=r"'dig' has no head in the model.*'dog'"):
        out.together(variables.specific, z, batch, **how)
    wide = tasks.classification("cat", 4)
    with pytest.raises(ValueError, match="declared with num_outputs=4"):
        objective.make_losses(model, [wide]).stacked.pull(
            variables.specific, z, batch, **how
        )
    fewer = [TASKS[3], TASKS[0]]

    @jax.jit
    def pull(specific):
        split = objective.make_losses(model, fewer)
        out, back = split.stacked.pull(specific, z, batch, **how)
        heads, rows = back(jnp.ones(2))
        return out.sums, rows, heads(jnp.array([1.0, 2.0]))

    sums, rows, grads = pull(variables.specific)
    assert sums.shape == (2,)
    assert rows.shape == (2, B, 5)
    assert not np.any(grads["heads_dog"]["kernel"])
    assert np.any(grads["heads_mass"]["kernel"])


def test_equal_losses_are_the_same():
    for make in (
        losses.mse,
        losses.mae,
        lambda: losses.huber(delta=2),
        lambda: losses.softmax_cross_entropy([1, 2.5, 3], 0.1),
        lambda: losses.sigmoid_cross_entropy(class_weights=np.array([1, 2])),
    ):
        assert make() == make()
    assert losses.huber(2.0) != losses.huber(1.0)
    assert losses.softmax_cross_entropy([1, 2]) != losses.softmax_cross_entropy([2, 1])


def test_stacked_is_a_mapping_that_any_tree_function_takes():
    heads = Stacked([("a", "b"), ("c",)], [{"w": np.arange(6).reshape(2, 3)}, {"w": 1}])
    with pytest.raises(KeyError):
        heads["d"]
    shapes = jax.eval_shape(lambda: Stacked([("a", "b")], [jnp.ones((2, 3))]))
    assert shapes["b"].shape == (3,)
    doubled = jax.tree.map(lambda a: 2 * a, heads)
    assert doubled["b"]["w"].tolist() == [6, 8, 10]
    assert [jax.tree_util.keystr(p) for p, _ in jax.tree.leaves_with_path(heads)] == [
        "['a...b']['w']",
        "['c']['w']",
    ]
    columns = stacked.columns({"x": np.zeros((4, 2)), "y": np.ones((4, 2))})
    assert stacked.rows(columns, ["y", "x"])[:, 0, 0].tolist() == [1, 0]
