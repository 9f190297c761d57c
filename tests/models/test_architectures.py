"""Which loss reaches which parameter, and that methods of every kind train them all."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from architecture_cases import (
    BATCH,
    CASES,
    CHAIN,
    KEY,
    TASKS,
    WITHOUT_REPRESENTATION,
    bound,
    flat,
    jacobian,
    start,
)

import mtl_jax as mtl
from mtl_jax import build, config, engine, models, tasks, weighting
from mtl_jax.stacked import named

T = len(TASKS)


def reached(rows):
    """The tasks whose loss has a derivative, of a tree with leaves `[T, ...]`."""
    return {
        jax.tree_util.keystr(path): {
            task for task, row in zip(CHAIN, np.asarray(leaf), strict=True) if row.any()
        }
        for path, leaf in jax.tree_util.tree_leaves_with_path(rows)
    }


STAGED = ("cross_stitch", "sluice", "mtan", "learning_to_branch")
"""Those of the stages of a trunk, whose representations may be of any shape."""
COUPLED = (*STAGED, "sub_network")
"""Those and their like without a trunk in stages."""

EVERY, LATER = set(CHAIN), {"click", "buy"}
_LAST = {name: {"buy"} for name in ("towers_buy", "transfers_buy", "heads_buy")}
_LOWER = {
    "trunk": EVERY,
    "towers_view": EVERY,
    "towers_click": LATER,
    "transfers_click": LATER,
}
CHAINS = {
    "esmm": (
        {"trunk": EVERY, "heads_view": EVERY, "heads_click": LATER},
        {"heads_buy": {"buy"}},
    ),
    # The calibrator compares the probabilities of neighbours.
    "aitm": (
        {**_LOWER, "heads_view": {"view", "click"}, "heads_click": LATER},
        _LAST,
    ),
    "aitm_plain": (
        _LOWER,
        {**_LAST, "heads_view": {"view"}, "heads_click": {"click"}},
    ),
}


_FILM = (
    {"trunk": EVERY, "conditioned": EVERY},
    {f"{part}_{t}": {t} for part in ("heads", "embeddings") for t in CHAIN},
)
COLUMNS = {
    "film": _FILM,
    "film_layers": _FILM,
    "soft_sharing": ({"trunk": EVERY}, {f"heads_{t}": {t} for t in CHAIN}),
    "trace_norm": ({"trunk": EVERY}, {f"heads_{t}": {t} for t in CHAIN}),
    "adversarial": (
        {"trunk": EVERY, "discriminator": EVERY},
        {"private": EVERY, **{f"heads_{t}": {t} for t in CHAIN}},
    ),
    "shared_private": (
        {"trunk": EVERY},
        {"private": EVERY, **{f"heads_{t}": {t} for t in CHAIN}},
    ),
}
"""Of these, all rows of a leaf `[T, ...]` together."""


LEFT_OUT = ("ple_two", "average", "two_way_attention", "sub_network_aver")


@pytest.mark.parametrize("name", [name for name in CASES if name not in LEFT_OUT])
def test_which_loss_reaches_which_parameter(name):
    if name in TRIED:
        rows = at_the_parameters(name)[2][1]
        rows = rows[0], named(rows[1], lambda leaf, row, _: leaf[:, row])
    else:
        _, model, variables = start(name, stack_heads=False)
        _, rows = jax.jit(lambda: jacobian(model, variables))()
    shared, specific = map(reached, rows)
    assert all(len(found) > 1 for found in shared.values()), shared
    table = {**CHAINS, **COLUMNS}
    if name in table:
        for part, expected in zip(rows, table[name], strict=True):
            tops = {key: reached(tree).values() for key, tree in part.items()}
            assert {key: set().union(*found) for key, found in tops.items()} == expected
        return
    for path, found in specific.items():
        assert found == {path.split("'")[1].removeprefix("heads_")}, path
    own = [path for path in specific if "'own'" in path]
    assert bool(own) == (name in ("cgc", "ple"))
    lower = [path for path in shared if "'own" in path]
    assert bool(lower) == (name == "ple")
    assert all(shared[path] == EVERY for path in lower)


COLUMN_METHODS = (
    "soft_sharing",
    "weighted_sum",
    "adversarial",
    "film_layers",
    "local_attention",
)


def test_towers_learn_from_the_tasks_that_read_them():
    """The first and the last task read each other."""
    _, model, variables = start("two_way_attention", stack_heads=False)
    _, (shared, specific) = jax.jit(lambda: jacobian(model, variables))()
    for leaf in jax.tree.leaves(shared["trunk"]["towers"]):
        reach = [[np.any(leaf[k, i]) for i in range(2)] for k in range(T)]
        assert reach == [[True, True], [False, False], [True, True]]
    for path, found in reached(specific).items():
        assert found == {path.split("'")[1].removeprefix("heads_")}, path
    parts = {task: set(specific[f"heads_{task}"]) for task in CHAIN}
    assert parts["click"] == {"head", "tower"}
    assert parts["view"] == parts["buy"] == {"head", "query", "key", "value"}


def test_a_private_trunk_learns_from_its_task_alone():
    """The rows of a leaf `[T, ...]` are of one task each."""
    for name in ("adversarial", "shared_private"):
        _, model, variables = start(name)
        _, (_, rows) = jax.jit(lambda: jacobian(model, variables))()  # noqa: B023
        for leaf in jax.tree.leaves(rows["private"]):
            reach = np.array([[np.any(leaf[k, i]) for i in range(T)] for k in range(T)])
            np.testing.assert_array_equal(reach, np.eye(T, dtype=bool))


METHODS = ("uw", "mgda", "pcgrad", "graddrop")
BATCHED = ("mmoe",)
"""Whose layers, side by side, are tried by every way to the Gramian."""
TRIED = (
    *("mmoe", "cgc", "ple_two", "dselect_k", "esmm", "aitm"),
    *COLUMN_METHODS,
    *COUPLED,
)


@pytest.mark.parametrize(
    "name",
    TRIED,
)
def test_every_kind_of_method_at_the_parameters(name):
    check_methods(*at_the_parameters(name))


@functools.cache
def at_the_parameters(name):
    """What the methods and routes make of the losses, and their derivatives."""
    _, model, variables = start(name)
    params = variables.shared, variables.specific
    methods = METHODS if name in BATCHED else ("uw", "mgda", "graddrop")

    @jax.jit
    def run(shared, specific):
        losses_fn, found, key = bound(model, variables), {}, jax.random.key(0)
        for method_name in methods:
            method = weighting.make(method_name)
            found[method_name] = engine.gradients(
                method,
                losses_fn,
                shared,
                specific,
                method.init(T),
                key=jax.random.key(0),
            )._replace(state=None)
        method = weighting.pcgrad()
        routes = {
            route: engine.gradients(
                method,
                losses_fn,
                shared,
                specific,
                method.init(T),
                key=key,
                gramian=route,
            ).gramian
            for route in (engine.ROUTES if name in BATCHED else ())
        }
        return found, routes, jacobian(model, variables)

    return run(*params)


def check_methods(found, routes, whole):
    losses, rows = whole
    shared, specific = (flat(part) for part in rows)
    for out in found.values():
        np.testing.assert_allclose(out.losses, losses, rtol=1e-5)
        assert out.finite
    for method_name in found.keys() - {"graddrop"}:
        out = found[method_name]
        direction = flat(jax.tree.map(lambda a: a[None], out.shared))[0]
        expected = np.float64(out.weights) @ shared
        np.testing.assert_allclose(direction, expected, rtol=1e-3, atol=1e-5)
    for gramian in (found["mgda"].gramian, *routes.values()):
        np.testing.assert_allclose(gramian, shared @ shared.T, rtol=1e-3, atol=1e-5)
    dropped = flat(jax.tree.map(lambda a: a[None], found["graddrop"].shared))[0]
    sides = [np.where(side, shared, 0).sum(0) for side in (shared > 0, shared < 0)]
    kept = [np.isclose(dropped, side, rtol=1e-3, atol=1e-6) for side in sides]
    assert np.all(kept[0] | kept[1])
    heads = flat(jax.tree.map(lambda a: a[None], found["mgda"].specific))[0]
    np.testing.assert_allclose(heads, specific.sum(0), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    "name, below",
    [
        *(("mmoe", True), ("dselect_k", False), ("ple_two", False)),
        *((name, True) for name in ("weighted_sum", "attention", "mtan")),
    ],
)
def test_statistics_at_the_representation(name, below):
    """Of what experts and trunk give; inputs of the model have no part in them."""
    _, model, variables = start(name, below)
    below_cut = variables.shared, variables.collections and variables.collections[0]
    encode = jax.jit(functools.partial(model.encode, train=True, key=KEY))
    z, _ = encode(*below_cut, BATCH["inputs"])
    learned = z
    if not below:
        learned = {k: v for k, v in z.items() if k not in ("input", "streams")}

    @jax.jit
    def run(shared, specific, learned):
        split = bound(model, variables)
        method = weighting.make("mgda")
        out = engine.gradients(
            method, split, shared, specific, method.init(T), at="representation"
        )

        def losses(learned):
            full = learned if below else {**z, **learned}
            one = split.losses(specific, (full,) * T)
            return one.sums / one.counts

        dropping = weighting.make("graddrop")
        dropped = engine.gradients(
            dropping,
            split,
            shared,
            specific,
            dropping.init(T),
            at="representation",
            key=jax.random.key(1),
        )
        return out.gramian, dropped.shared, jax.jacrev(losses)(learned)

    gramian, dropped, rows = run(variables.shared, variables.specific, learned)
    rows = flat(rows)
    np.testing.assert_allclose(gramian, rows @ rows.T, rtol=1e-4, atol=1e-8)
    assert all(np.any(leaf) for leaf in jax.tree.leaves(dropped))


@pytest.mark.parametrize("name", WITHOUT_REPRESENTATION)
def test_who_has_no_representation_says_why(name):
    _, model, variables = start(name)
    method = weighting.make("mgda")
    reason = WITHOUT_REPRESENTATION[name]
    with pytest.raises(ValueError, match=rf"but in .*{reason}\. Use at='parameters'"):
        engine.gradients(
            method,
            bound(model, variables),
            variables.shared,
            variables.specific,
            method.init(T),
            at="representation",
        )


def made_by_settings(name, trunk="mlp", **arguments):
    settings = config.ModelConfig(
        trunk=trunk,
        trunk_args={"features": [6, 6] if name in COUPLED else [6]} if trunk else {},
        architecture=name,
        architecture_args=arguments,
        head_features=(3,),
    )
    return build.build_model(settings, TASKS)


ARGUMENTS = {
    "adversarial": {"adversarial": 0.1, "discriminator_features": [4]},
    "aitm": {"tower_features": [5]},
    "cross_stitch": {"own": 1},
    "cgc": {"num_own": 1, "expert_features": [5]},
    "domain_adversarial": {"domain": "buy", "strength": 0.1},
    "dselect_k": {"num_experts": 4, "entropy": 1, "per_example": True},
    "esmm": {},
    "film": {"embedding_features": 3, "layers": [4]},
    "hard_sharing": {},
    "late_fusion": {"fusion": "weighted_sum"},
    "mmoe": {"num_experts": 3, "expert_features": [4]},
    "learning_to_branch": {"num_nodes": [1, 2]},
    "sub_network": {"num_networks": [2, 2], "connection": "aver"},
    "mtan": {"batch_norm": False},
    "sluice": {"num_subspaces": 3, "orthogonality": 0.1},
    "ple": {"num_layers": 2, "num_shared": 1, "expert_features": [4]},
    "soft_sharing": {"penalty": "trace_norm", "strength": 0.01, "equal_start": True},
    "task_attention": {
        "attention": "bidirectional",
        "graph": [["view", "click"]],
        "tower_features": [4],
    },
}


def train_data(size=96):
    rng = np.random.default_rng(5)
    rows = rng.normal(size=(size, 5)).astype(np.float32)
    steps = (rows[:, :3] + 0.5 > 0).cumprod(axis=1)
    labels = {name: steps[:, i] for i, name in enumerate(CHAIN)}
    return mtl.data.from_arrays(rows, labels, fractions=(0.5, 0.25, 0.25))


USED = {"mmoe": ("mgda", "representation")}
COLUMNS_USED = ("adversarial", "film", "late_fusion", "soft_sharing", "task_attention")


def test_every_architecture_is_used():
    assert set(models.ARCHITECTURES) == set(ARGUMENTS)
    with_trunk = {*STAGED, *COLUMNS_USED, "hard_sharing", "domain_adversarial"}
    assert set(models.OF_VECTORS) == set(ARGUMENTS) - with_trunk


@pytest.mark.parametrize("name", USED)
def test_training_goes_on_where_it_stopped(name, tmp_path):
    data, model = train_data(), made_by_settings(name, **ARGUMENTS[name])
    method, at = USED[name]

    def curve(epochs):
        result = mtl.fit(
            model,
            TASKS,
            data,
            method=method,
            at=at,
            optimizer=optax.adam(0.02),
            epochs=epochs,
            batch_size=16,
            steps_per_call=1,
            parallel="jit",
            workdir=tmp_path,
        )
        rows = [row for row in result.history if row["split"] == "validation"]
        return [(row["step"], sum(row[f"{t}/loss"] for t in CHAIN)) for row in rows]

    first, then = curve(4), curve(5)
    assert [step for step, _ in first + then] == [3, 6, 9, 12, 15]
    assert first[-1][1] < 0.97 * first[0][1]
    assert then[0][1] < 0.97 * first[0][1], "from trained parameters"


def test_arguments_of_settings_reach_the_model():
    shapes = jax.eval_shape(
        made_by_settings("mmoe", **ARGUMENTS["mmoe"]).init,
        jax.random.key(0),
        BATCH["inputs"],
    )
    kernel = shapes.shared["trunk"]["experts"]["Dense_0"]["kernel"]
    assert kernel.shape == (3, 6, 4)
    without = made_by_settings("mmoe", trunk=None, **ARGUMENTS["mmoe"])
    shapes = jax.eval_shape(without.init, jax.random.key(0), BATCH["inputs"])
    assert shapes.shared["trunk"]["experts"]["Dense_0"]["kernel"].shape == (3, 5, 4)


def test_the_order_of_tasks_is_that_of_the_chain():
    settings = config.ModelConfig(trunk=None, architecture="esmm")
    for order in (CHAIN, CHAIN[::-1]):
        task_list = tuple(tasks.binary(name) for name in order)
        model = build.build_model(settings, task_list)
        variables = jax.eval_shape(model.init, jax.random.key(0), BATCH["inputs"])
        assert list(variables.specific) == [f"heads_{order[-1]}"]


@pytest.mark.parametrize(
    "name, trunk, arguments, text",
    [
        ("mmo", "mlp", {}, "unknown architecture 'mmo'. Did you mean 'mmoe'"),
        ("mmoe", "mlp", {"experts": 3}, "argument of architecture 'mmoe' 'experts'"),
        (
            "mmoe",
            "mlp",
            {"heads": {}},
            "argument of architecture 'mmoe' 'heads'",
        ),
        ("mmoe", "mlp", {"num_experts": "x"}, r"architecture_args.num_experts' takes"),
        ("hard_sharing", None, {}, "'hard_sharing' needs one. Set it to one of bag_of"),
        (
            "hard_sharing",
            "mlp",
            {"width": 1},
            r"'hard_sharing' 'width'.*Known: \(none\)",
        ),
    ],
)
def test_settings_that_are_wrong(name, trunk, arguments, text):
    with pytest.raises(ValueError, match=text):
        made_by_settings(name, trunk=trunk, **arguments)


def test_heads_of_texts():
    vocabulary = {"vocabulary": 9, "features": [4]}
    settings = config.ModelConfig(
        trunk="bag_of_embeddings", trunk_args=vocabulary, architecture="mmoe"
    )
    model = build.build_model(settings, TASKS)
    words = {"tokens": jnp.ones((2, 3), jnp.int32)}
    variables = model.init(jax.random.key(0), words)
    assert model.apply(*variables, words)[0]["buy"].shape == (2, 1)
    with pytest.raises(ValueError, match=r"'view' has an output for every word"):
        build.build_model(settings, TASKS, per_token={"view"})


def test_stacked_heads_are_the_heads():
    """Outputs and penalties one by one and together, in training."""
    for name in ("cgc", "dselect_k_static"):
        _, together, variables = start(name)
        _, apart, _ = start(name, stack_heads=False)
        split = bound(apart, variables._replace(specific=named(variables.specific)))
        params = variables.shared, named(variables.specific)
        expected = jax.jit(engine.losses.whole_function(split))(*params)
        found = jax.jit(engine.losses.whole_function(bound(together, variables)))(
            variables.shared, variables.specific
        )
        np.testing.assert_allclose(found.sums, expected.sums, rtol=1e-5)


@pytest.mark.parametrize("name", ["cgc", "dselect_k_static", "aitm"])
def test_computation_in_half_precision(name):
    _, model, variables = start(name)
    wide, _ = jax.jit(model.apply)(*variables, BATCH["inputs"])
    narrow = models.in_dtype(model, "bfloat16")
    found, _ = jax.jit(narrow.apply)(*variables, BATCH["inputs"])
    for task in CHAIN:
        assert found[task].dtype == jnp.float32
        assert 0 < np.abs(found[task] - wide[task]).max() < 0.05
