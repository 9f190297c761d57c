"""Architectures × programs: each pair is built from settings, and learns in two steps.

A program is here a kind of inputs and tasks, as in `configs/`, on a few random
examples; `docs/results.md` has what they learn of real data.
"""

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mtl_jax import build, config, models, objective, tasks, train, weighting
from mtl_jax.stacked import named

N = 6
RNG = np.random.default_rng(0)


def normal(*shape):
    return RNG.normal(size=(N, *shape)).astype(np.float32)


def classes(count, *shape):
    return RNG.integers(0, count, (N, *shape)).astype(np.int32)


class Program(NamedTuple):
    """A batch, and settings that read it."""

    kinds: dict[str, tuple[str, int | None]]
    labels: dict[str, np.ndarray]
    inputs: Any
    trunk: str
    trunk_args: dict[str, Any]
    settings: Mapping[str, Any] = MappingProxyType({})
    masks: Mapping[str, np.ndarray] = MappingProxyType({})
    vectors: bool = True
    """Whether tasks read one vector an example, of which some architectures are."""


TWO = {"a": ("classification", 3), "b": ("binary", None)}
OF_TWO = {"a": classes(3), "b": classes(2)}
STEPS = {"click": ("binary", None), "buy": ("binary", None)}
TOKENS = {"tokens": 1 + classes(9, 5)}
PROGRAMS = {
    "vectors": Program(
        {**TWO, "c": ("regression", None)},
        {**OF_TWO, "c": normal()},
        normal(5),
        "mlp",
        {"features": [6, 4]},
        {"method": config.MethodConfig("mgda")},
    ),
    "a chain of rare steps": Program(
        STEPS,
        {"click": np.array([1, 1, 0, 1, 0, 1]), "buy": np.array([1, 0, 0, 0, 0, 1])},
        {"numeric": normal(3), "categories": classes(3, 2)},
        "tabular_embedding",
        {"cardinalities": [3, 3], "features": [6, 4], "embedding": 2},
    ),
    "images, a task a step": Program(
        TWO,
        OF_TWO,
        normal(8, 8, 1),
        "cnn",
        {"features": [4, 4], "dense": [6]},
        {"method": config.MethodConfig("alternate")},
    ),
    "noisy images, ensembles of heads": Program(
        TWO,
        OF_TWO,
        normal(6, 6, 1),
        "cnn",
        {"features": [4], "dense": [6]},
        {
            "data": config.DataConfig(
                "digits", augment=({"name": "noise", "deviation": 0.1},)
            )
        },
    ),
    "pictures, turned and noisy": Program(
        {"turn": ("rotation", None), "clean": ("denoising", 16), **TWO},
        OF_TWO,
        normal(4, 4, 1),
        "mlp",
        {"features": [6, 4]},
        masks={"a": np.arange(N) < 3},
    ),
    "documents of their own": Program(
        TWO,
        OF_TWO,
        TOKENS,
        "bag_of_embeddings",
        {"vocabulary": 10, "width": 6, "features": [4]},
        masks={"a": np.arange(N) < 3, "b": np.arange(N) >= 3},
    ),
    "a picture and a text, or one of them": Program(
        TWO,
        OF_TWO,
        {"image": normal(4, 4, 1), **TOKENS, "image_present": np.arange(N) > 1},
        "cross_modal",
        {
            "trunks": {
                "image": {"trunk": "mlp", "features": [4]},
                "text": {"trunk": "bag_of_embeddings", "vocabulary": 10, "width": 4},
            },
            "reads": {"text": {"tokens": "tokens"}},
            "width": 4,
            "features": [4],
            "modality_dropout": 0.2,
        },
    ),
    "words": Program(
        {"tag": ("tokens", 4), "form": ("tokens", 3)},
        {"tag": classes(4, 5), "form": classes(3, 5)},
        TOKENS,
        "bilstm",
        {"vocabulary": 10, "width": 6, "hidden": 4},
        vectors=False,
    ),
    "pixels": Program(
        {"segment": ("segmentation", 3), "distance": ("depth", None)},
        {"segment": classes(3, 4, 4), "distance": 1 + np.abs(normal(4, 4))},
        normal(4, 4, 3),
        "dilated_cnn",
        {"features": 4, "dilations": [1, 2]},
        vectors=False,
    ),
}
CHAINS = ("aitm", "esmm")
ARGUMENTS: dict[str, dict[str, Any]] = {
    "adversarial": {},
    "aitm": {"tower_features": [4]},
    "cgc": {"num_own": 1, "expert_features": [4]},
    "cross_stitch": {},
    "domain_adversarial": {"strength": 0.1},
    "dselect_k": {"num_experts": 2, "expert_features": [4]},
    "esmm": {},
    "film": {"embedding_features": 3},
    "hard_sharing": {},
    "late_fusion": {},
    "learning_to_branch": {},
    "mmoe": {"num_experts": 2, "expert_features": [4]},
    "mtan": {},
    "ple": {"num_own": 1, "num_shared": 1, "expert_features": [4]},
    "sluice": {"mixture": False},
    "soft_sharing": {},
    "sub_network": {"num_networks": [2], "features": [4]},
    "task_attention": {"tower_features": [4]},
}


def pairs():
    for name, program in PROGRAMS.items():
        for architecture in models.ARCHITECTURES:
            if architecture in models.OF_VECTORS and not program.vectors:
                continue
            if architecture in CHAINS and name != "a chain of rare steps":
                continue
            yield pytest.param(name, architecture, id=f"{name}-{architecture}")


def settings(name, architecture):
    program = PROGRAMS[name]
    other = dict(program.settings)
    arguments = dict(ARGUMENTS[architecture])
    if architecture == "domain_adversarial":
        arguments["domain"] = list(program.kinds)[-1]
    heads = 2 if "ensembles" in name and architecture != "esmm" else 1
    return config.Config(
        "grid",
        other.pop("data", config.DataConfig("digits")),
        tuple(
            config.TaskConfig(task, kind, num_outputs=width)
            for task, (kind, width) in program.kinds.items()
        ),
        config.ModelConfig(
            trunk=program.trunk,
            trunk_args=program.trunk_args,
            architecture=architecture,
            architecture_args=arguments,
            heads_per_task=heads,
        ),
        **other,
    )


def filled(shapes):
    """Parameters and statistics of these shapes: nothing is compiled for them."""
    rng = np.random.default_rng(1)

    def leaf(path, a):
        name = jax.tree_util.keystr(path)
        if not jnp.issubdtype(a.dtype, jnp.floating):
            return jnp.zeros(a.shape, a.dtype)
        if "scale" in name or "var" in name:
            return jnp.ones(a.shape, a.dtype)
        return jnp.asarray(0.5 * rng.normal(size=a.shape), a.dtype)

    return jax.tree_util.tree_map_with_path(leaf, shapes)


@pytest.mark.parametrize(("name", "architecture"), list(pairs()))
def test_a_pair_learns_in_two_steps(name, architecture):
    program, chosen = PROGRAMS[name], settings(name, architecture)
    parts = build.build(chosen, {})
    batch = {"inputs": program.inputs, "labels": program.labels}
    if program.masks:
        batch["masks"] = dict(program.masks)
    of_gradients = isinstance(parts.method, weighting.GramianWeighting)
    cut = of_gradients and parts.model.encode is not None
    optimizer = optax.sgd(0.02)
    variables = filled(
        jax.eval_shape(parts.model.init, jax.random.key(0), program.inputs)
    )
    state = train.create(
        *variables[:2],
        method=parts.method,
        optimizer=optimizer,
        num_tasks=len(parts.tasks),
        key=0,
        collections=variables.collections,
    )
    step = train.make_train_step(
        objective.make_losses(parts.model, parts.tasks),
        parts.method,
        optimizer,
        at="representation" if cut else "parameters",
        parallel="jit",
    )
    outputs = []

    def begun(state):
        """With the keys of the first step, and the task whose turn it is in it."""
        return dataclasses.replace(
            state,
            step=jnp.zeros_like(state.step),
            weighting=parts.method.init(len(parts.tasks), state.shared),
        )

    for _ in range(3):
        state, output = step(begun(state), batch)
        outputs.append(jax.device_get(output))
    assert int(state.skipped) == 0
    totals = [np.sum(out.losses * outputs[0].weights) for out in outputs]
    assert totals[2] < totals[1] < totals[0]


@pytest.mark.parametrize("name", [n for n, p in PROGRAMS.items() if not p.vectors])
@pytest.mark.parametrize("architecture", models.OF_VECTORS)
def test_who_reads_vectors_says_so(name, architecture):
    with pytest.raises(ValueError, match=r"reads one vector|vector an example"):
        parts = build.build(settings(name, architecture), {})
        jax.eval_shape(parts.model.init, jax.random.key(0), PROGRAMS[name].inputs)


@pytest.mark.parametrize("architecture", ARGUMENTS)
def test_who_knows_tasks_by_their_place(architecture):
    """Arrays that are of no task alone grow with the number of tasks."""
    arguments = dict(ARGUMENTS[architecture])
    if architecture == "domain_adversarial":
        arguments["domain"] = "a"

    def shapes(names):
        chosen = config.ModelConfig(
            trunk_args={"features": [6, 4]},
            architecture=architecture,
            architecture_args=arguments,
        )
        model = build.build_model(chosen, tuple(map(tasks.binary, names)))
        variables = jax.eval_shape(model.init, jax.random.key(0), normal(5))
        leaves = jax.tree.leaves_with_path(named(variables._asdict()))
        return {jax.tree_util.keystr(path): leaf.shape for path, leaf in leaves}

    three, four = shapes("abc"), shapes("abcd")
    grown = [path for path in three if three[path] != four.get(path, three[path])]
    assert bool(grown) == (architecture in models.BY_POSITION), grown
