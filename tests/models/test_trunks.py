"""What every trunk keeps to: shapes, dtypes, dropout, batch statistics, names."""

import collections
import functools
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from models.trunk_cases import CASES, IMAGES, TABLE, TEXT, B, drawn

from mtl_jax import build, config, models, tasks

STATE = ("batch_stats", "frozen")
trunks = pytest.mark.parametrize("name", CASES)


class Started(NamedTuple):
    trunk: nn.Module
    variables: Any  # none of them at its initial value, which may be zero
    inputs: Any
    apply: Any  # (variables, inputs) -> representation


@functools.cache
def start(name):
    trunk, inputs = CASES[name].trunk, CASES[name].inputs
    variables = drawn(jax.eval_shape(trunk.init, jax.random.key(0), inputs))
    return Started(trunk, variables, inputs, jax.jit(trunk.apply))


def test_every_trunk_of_the_table_has_a_case():
    known = {type(case.trunk) for case in CASES.values()}
    factories = set(models.TRUNKS.values())
    assert {f for f in factories if isinstance(f, type)} == known
    for name in ("resnet18", "resnet34", "resnet50"):
        assert isinstance(models.TRUNKS[name](), models.ResNet)


@trunks
def test_shape_and_dtype_of_the_representation(name):
    _, variables, inputs, apply = start(name)
    out, expected = apply(variables, inputs), CASES[name].shape
    if not isinstance(expected, dict):
        out, expected = {"": out}, {"": expected}
    assert {k: a.shape for k, a in out.items()} == {
        k: (B, *shape) for k, shape in expected.items()
    }
    assert {a.dtype for a in out.values()} == {jnp.dtype("float32")}


STAGES = {
    "mlp": 1,
    "cnn": 3,
    "cnn_mean": 1,
    "resnet": 2,
    "resnet_group": 2,
    "dilated_cnn": 2,
    "vision_transformer": 2,
    "vision_transformer_mean": 2,
    "bag_of_embeddings": 2,
    "bag_of_frozen_vectors": 1,
    "bilstm": 3,
    "transformer": 2,
    "transformer_learned": 2,
    "cross_modal": 2,
    "tabular_embedding": 2,
}


@trunks
def test_the_stages_compute_the_trunk(name):
    trunk, variables, inputs, apply = start(name)
    parts = models.stages(trunk)
    assert len(parts) == STAGES[name]
    places = collections.Counter()
    own, x = [], inputs
    for part in parts:
        shapes, x = jax.eval_shape(part.init_with_output, jax.random.key(0), x)[::-1]
        tops = sorted({top for tree in shapes.values() for top in tree})
        of_trunk = {top: number_on(top, places) for top in tops}
        places.update(top.rsplit("_", 1)[0] for top in tops)
        own.append(
            {
                c: {top: variables[c][of_trunk[top]] for top in tree}
                for c, tree in shapes.items()
            }
        )
    count = sum(len(jax.tree.leaves(tree)) for tree in own)
    assert count == len(jax.tree.leaves(variables))

    @jax.jit
    def in_turn(own, x):
        for part, tree in zip(parts, own, strict=True):
            x = part.apply(tree, x)
        return x

    expected, found = apply(variables, inputs), in_turn(own, inputs)
    assert jax.tree.structure(expected) == jax.tree.structure(found)
    for a, b in zip(jax.tree.leaves(expected), jax.tree.leaves(found), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def number_on(top, places):
    """The name that a layer of a stage has in the trunk, whose counts go on."""
    kind, _, place = top.rpartition("_")
    return f"{kind}_{int(place) + places[kind]}" if top[0].isupper() else top


def test_a_stage_knows_of_training():
    trunk = models.CNN((4,), (3, 3), dropout=0.5)
    _, second, third = models.stages(trunk)
    for part in (second, third):
        one = part.init_with_output({"params": jax.random.key(0)}, jnp.ones((1, 64)))
        dropped = part.apply(
            one[1], jnp.ones((1, 64)), train=True, rngs={"dropout": jax.random.key(1)}
        )
        np.testing.assert_allclose(dropped, np.where(dropped == 0, 0, 2 * one[0]))


def test_what_is_and_what_has_no_stages():
    mlp, dense = models.MLP((3, 2), input_scale=0.5), nn.Dense(2)
    assert models.stages([mlp, dense]) == (mlp, dense)
    assert models.stages(dense) == (dense,)
    assert [part.input_scale for part in models.stages(mlp)] == [0.5, 1.0]
    scaled = models.DilatedCNN(2, (1, 2), dropout=0.5, input_scale=0.5)
    found = [(part.input_scale, part.dropout) for part in models.stages(scaled)]
    assert found == [(0.5, 0.0), (1.0, 0.5)]
    for wrong in (None, (), [mlp, nn.relu]):
        with pytest.raises(ValueError, match="Give a trunk, or a sequence of modules"):
            models.stages(wrong)


@trunks
def test_an_example_does_not_depend_on_the_others(name):
    _, variables, inputs, apply = start(name)
    whole = apply(variables, inputs)
    turned = jax.tree.map(lambda a: a[::-1], inputs)
    found = jax.tree.map(lambda a: a[::-1], apply(variables, turned))
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(found), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
        assert np.ptp(a, axis=0).max() > 1e-3  # nor is it the same for all


@trunks
def test_bfloat16_inside_and_float32_parameters(name):
    trunk, variables, inputs, apply = start(name)
    half = trunk.clone(dtype=jnp.bfloat16)
    same = jax.eval_shape(half.init, jax.random.key(0), inputs)
    assert {a.dtype for a in jax.tree.leaves(same)} == {jnp.dtype("float32")}
    wide = apply(variables, inputs)
    narrow = jax.jit(half.apply)(variables, inputs)
    for a, b in zip(jax.tree.leaves(wide), jax.tree.leaves(narrow), strict=True):
        assert b.dtype == jnp.bfloat16
        error = np.abs(np.asarray(a) - np.asarray(b, np.float32)).max()
        assert 1e-6 < error / np.abs(a).max() < 0.05


@trunks
def test_a_model_of_it_computes_in_bfloat16(name):
    trunk, variables, inputs, apply = start(name)
    reads = CASES[name].reads
    net = models.HardSharing(trunk, {"a": models.Head(2, reads=reads)})
    model = models.in_dtype(models.from_linen(net), "bfloat16")
    params, *others = ({"trunk": variables.get(c, {})} for c in ("params", *STATE))
    state = {c: t for c, t in zip(STATE, others, strict=True) if t["trunk"]}
    encode = jax.jit(model.encode)
    z, _ = encode(params, state, inputs)
    wide = apply(variables, inputs)
    for a, b in zip(jax.tree.leaves(wide), jax.tree.leaves(z), strict=True):
        assert b.dtype == jnp.float32
        assert 1e-6 < np.abs(a - b).max() / np.abs(a).max() < 0.05


@trunks
def test_dropout_in_training_alone(name):
    trunk, variables, inputs, _ = start(name)
    apply = jax.jit(
        lambda train, key: trunk.apply(
            variables, inputs, train, mutable=["batch_stats"], rngs={"dropout": key}
        )[0],
        static_argnums=0,
    )
    keys = jax.random.key(1), jax.random.key(2)
    for train in (False, True):
        same = jax.tree.map(np.array_equal, *(apply(train, key) for key in keys))
        drops = train and getattr(trunk, "dropout", 0) > 0
        # (The words of a bag are those of the table.)
        assert all(jax.tree.leaves(same)) is not drops


@pytest.mark.parametrize("name", ["cnn", "resnet", "dilated_cnn", "tabular_embedding"])
def test_batch_statistics_are_those_of_the_batches(name):
    trunk, variables, inputs, _ = start(name)
    apply = jax.jit(
        lambda variables: trunk.apply(
            variables,
            inputs,
            True,
            mutable=["batch_stats"],
            rngs={"dropout": jax.random.key(0)},
        )[1]
    )
    for _ in range(200):
        variables = {**variables, **apply(variables)}
    _, seen = trunk.apply(
        variables, inputs, False, capture_intermediates=True, mutable=True
    )
    layer = {"tabular_embedding": "Dense_0"}.get(name, "Conv_0")
    before = np.asarray(seen["intermediates"][layer]["__call__"][0], np.float64)
    axes = tuple(range(before.ndim - 1))
    stats = variables["batch_stats"]["BatchNorm_0"]
    np.testing.assert_allclose(stats["mean"], before.mean(axes), atol=1e-5)
    np.testing.assert_allclose(stats["var"], before.var(axes), rtol=1e-4)
    # They are what evaluation normalises by.
    other = jax.tree.map(lambda a: a + 1, variables["batch_stats"])
    changed = trunk.apply({**variables, "batch_stats": other}, inputs)
    same = jax.tree.map(np.allclose, changed, trunk.apply(variables, inputs))
    assert not all(jax.tree.leaves(same))


@pytest.mark.parametrize("name", ["cnn", "resnet", "dilated_cnn", "vision_transformer"])
def test_raw_images(name):
    raw = np.random.default_rng(1).integers(0, 256, IMAGES.shape).astype(np.uint8)
    trunk, variables, _, apply = start(name)
    expected = apply(variables, raw.astype(np.float32) / 255)
    scaled = trunk.clone(input_scale=1 / 255)
    found = jax.jit(scaled.apply)(variables, raw)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def raises(trunk, inputs, *parts):
    with pytest.raises(ValueError) as error:
        jax.eval_shape(trunk.init, jax.random.key(0), inputs)
    for part in parts:
        assert part in str(error.value)


@pytest.mark.parametrize("name", ["cnn", "resnet", "dilated_cnn", "vision_transformer"])
def test_inputs_that_are_no_images(name):
    trunk, kind = CASES[name].trunk, type(CASES[name].trunk).__name__
    reads = f"{kind} reads images [B, H, W, C]; found "
    raises(trunk, IMAGES[..., 0], reads, "(4, 8, 8)", "images[..., None]")
    raises(trunk, IMAGES[:, 0, 0], reads, "(4, 3) and dtype float32", "trunk MLP")
    raises(trunk, TEXT, reads, "{'tokens': [4, 7] int32}", "a trunk for text")


@pytest.mark.parametrize("name", ["bag_of_embeddings", "bilstm", "transformer"])
def test_inputs_that_are_no_text(name):
    trunk, kind = CASES[name].trunk, type(CASES[name].trunk).__name__
    reads = f"{kind} reads {{'tokens': [B, n] integers}}; found "
    raises(trunk, TEXT["tokens"], reads, "(4, 7)", "Give a dict with 'tokens'.")
    raises(trunk, TABLE, reads, "'numeric': [4, 3] float32", "Give a dict with")
    raises(trunk, {"tokens": TEXT["tokens"][0]}, reads, "[7] int32", "two axes")
    floats = {"tokens": TEXT["tokens"].astype(np.float32)}
    raises(trunk, floats, reads, "[4, 7] float32", "int32 ids")


@pytest.mark.parametrize(
    "name, field", [("cnn", "pooling"), ("vision_transformer", "pooling")]
)
def test_unknown_pooling(name, field):
    raises(CASES[name].trunk.clone(**{field: "max"}), IMAGES, "unknown pooling", "mean")


@pytest.mark.parametrize("field", ["block", "norm", "stem"])
def test_unknown_parts_of_a_resnet(field):
    trunk = models.ResNet(**{field: "basket"})
    raises(trunk, IMAGES, f"unknown {field} of ResNet 'basket'", "Known: ")


def test_trunks_by_name_from_settings():
    task_list = (tasks.binary("a"), tasks.binary("b"))
    images = jnp.ones((2, 8, 8, 3))

    def model(trunk, **arguments):
        settings = config.ModelConfig(trunk=trunk, trunk_args=arguments)
        return build.build_model(settings, task_list)

    found = model("cnn", features=[4], dense=[], pooling="mean")
    shared = jax.eval_shape(found.init, jax.random.key(0), images).shared
    assert shared["trunk"]["Conv_0"]["kernel"].shape == (3, 3, 3, 4)
    found = model("resnet18", stem="small", norm="group")
    shared = jax.eval_shape(found.init, jax.random.key(0), images).shared
    assert shared["trunk"]["Conv_0"]["kernel"].shape == (3, 3, 3, 64)
    with pytest.raises(ValueError, match="Did you mean 'resnet18'"):
        model("resnet_18")
    with pytest.raises(ValueError, match="argument of trunk 'resnet34' 'sem'"):
        model("resnet34", sem="small")
