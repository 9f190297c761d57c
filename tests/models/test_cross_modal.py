"""A trunk of several modalities: equations, what is missing, any architecture above."""

import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from equations import dense, softmax

from mtl_jax import build, config, models, objective, tasks, train
from mtl_jax.models.trunks import cross_modal

B, V = 6, 7
RNG = np.random.default_rng(0)
WORDS = np.array([[2, 3, 0], [4, 0, 0], [6, 5, 2], [3, 3, 3], [5, 2, 0], [6, 0, 0]])
INPUTS = {
    "image": RNG.normal(size=(B, 2, 2)).astype(np.float32),
    "row": RNG.normal(size=(B, 3)).astype(np.float32),
    "words": WORDS.astype(np.int32),
    "image_present": np.array([1, 0, 1, 1, 0, 0], bool),
    "row_present": np.array([1, 1, 0, 1, 1, 0], bool),
    "text_present": np.array([1, 1, 1, 0, 0, 0], bool),
}
FAST = {"xla_backend_optimization_level": 0}  # to compile
NAMES = ("image", "row", "text")
READS = {"text": {"tokens": "words"}}
TRUNKS = {
    "text": models.BagOfEmbeddings(V, 4),
    "image": models.MLP((5,), activation=nn.tanh),
    "row": nn.Dense(2),
}


@functools.cache
def started(fusion, features=()):
    """A trunk, its apply, and parameters that leave nothing at zero."""
    net = models.CrossModal(TRUNKS, READS, fusion, 4, features, 0.4, activation=nn.tanh)
    shapes = jax.eval_shape(net.init, jax.random.key(0), INPUTS)
    rng = np.random.default_rng(5)
    variables = jax.tree.map(lambda a: rng.normal(size=a.shape), dict(shapes))
    return net, jax.jit(net.apply, static_argnums=2), variables


def features_of(params, b):
    """What each trunk gives of one example."""
    words = [w for w in WORDS[b] if w > 0]
    layer = params["modality_image"]["Dense_0"]
    table = params["modality_text"]["words"]["embedding"]
    return {
        "image": np.tanh(dense(layer, np.float64(INPUTS["image"][b]).reshape(-1))),
        "row": dense(params["modality_row"], np.float64(INPUTS["row"][b])),
        "text": np.mean([table[w] for w in words], axis=0),
    }


def fused(params, fusion, b, here):
    """The vector of one example with the modalities `here`, as the docstring says."""
    f = features_of(params, b)
    u = {m: dense(params[f"projection_{m}"], f[m]) for m in NAMES}
    if fusion == "concatenation":
        return np.concatenate(
            [u[m] if m in here else params[f"missing_{m}"] for m in NAMES]
        )
    places = [i for i, m in enumerate(NAMES) if m in here]
    z = np.zeros(4)
    if not here:
        return z
    if fusion == "weighted_sum":
        weights = softmax(params["weights"][places])
        return sum(a * u[NAMES[i]] for a, i in zip(weights, places, strict=True))
    read = np.concatenate([f[m] if m in here else 0 * f[m] for m in NAMES])
    logits = dense(params["gate"], read).reshape(3, 4)
    for d in range(4):
        weights = softmax(logits[places, d])
        z[d] = sum(
            a * np.tanh(u[NAMES[i]][d]) for a, i in zip(weights, places, strict=True)
        )
    return z


def present(b):
    return [m for m in NAMES if INPUTS[f"{m}_present"][b]]


@pytest.mark.parametrize("fusion", cross_modal.FUSIONS)
def test_the_fusion_follows_its_equation(fusion):
    features = (3,) if fusion == "gate" else ()
    _, apply, variables = started(fusion, features)
    out = apply(variables, INPUTS, False)
    for b in range(B):
        expected = fused(variables["params"], fusion, b, present(b))
        if features:
            expected = np.tanh(dense(variables["params"]["joint_0"], expected))
        np.testing.assert_allclose(out[b], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("fusion", cross_modal.FUSIONS)
def test_in_training_some_are_hidden_but_never_all(fusion):
    """Every example is fused of some of what it has, and not always of the same."""
    _, apply, variables = started(fusion)
    found = set()
    for seed in range(12):
        out = apply(variables, INPUTS, True, rngs={"dropout": jax.random.key(seed)})
        for b in range(B - 1):
            having = present(b)
            subsets = [
                [m for i, m in enumerate(having) if code >> i & 1]
                for code in range(1, 2 ** len(having))
            ]
            of = [fused(variables["params"], fusion, b, here) for here in subsets]
            match = [np.allclose(out[b], z, rtol=1e-4, atol=1e-5) for z in of]
            assert sum(match) == 1
            found.add((b, match.index(True)))
    assert len({place for b, place in found if b == 0}) > 3


def test_each_modality_is_hidden_with_its_probability():
    drawn = jax.vmap(
        lambda key: cross_modal.some_hidden(key, jnp.ones((1, 2), bool), 0.3)
    )
    kept = np.asarray(drawn(jax.random.split(jax.random.key(0), 20_000)))[:, 0]
    patterns = np.unique(kept @ [1, 2], return_counts=True)
    assert patterns[0].tolist() == [1, 2, 3]
    # Both are hidden in 0.09 of the cases, and then kept.
    expected = [0.7 * 0.3, 0.3 * 0.7, 0.7**2 + 0.3**2]
    np.testing.assert_allclose(patterns[1] / 20_000, expected, atol=0.015)


def test_inputs_by_hand_lack_what_the_settings_hide():
    settings = config.Config(
        "x",
        config.DataConfig("any", missing=("b",)),
        model=config.ModelConfig("cross_modal", {"trunks": {"a": {}, "b": {}}}),
    )
    given = {"a": np.ones((2, 3)), "b": np.ones((2, 1))}
    assert build.hidden(settings, given)["b_present"].tolist() == [False, False]
    told = {**given, "b_present": np.array([True, False])}
    assert build.hidden(settings, told)["b_present"].tolist() == [True, False]


def test_what_is_missing_is_not_looked_at():
    """Neither in the output, nor in gradients or batch statistics."""
    net = models.CrossModal(
        {
            "image": models.MLP((4,), batch_norm=True),
            "text": models.Transformer(V, 4, 1, 2),
        },
        READS,
        width=3,
    )
    flags = {f"{m}_present": INPUTS["image_present"] for m in ("image", "text")}
    inputs = {"image": INPUTS["image"], "words": INPUTS["words"], **flags}
    hidden = ~INPUTS["image_present"]
    other = inputs["image"].copy()
    other[hidden] = np.nan
    variables = net.init(jax.random.key(0), inputs)

    @functools.partial(jax.jit, compiler_options=FAST)
    def run(inputs):
        def loss(params):
            z, changed = net.apply(
                {**variables, "params": params},
                inputs,
                True,
                mutable=["batch_stats"],
                rngs={"dropout": jax.random.key(1)},
            )
            return jnp.sum(z**2), (z, changed)

        return jax.grad(loss, has_aux=True)(variables["params"])

    first, second = run(inputs), run({**inputs, "image": other})
    for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        assert np.isfinite(a).all()
        np.testing.assert_array_equal(a, b)
    moved = {**inputs, "image": inputs["image"] + 1}
    assert not np.array_equal(run(moved)[1][0], first[1][0])


def test_without_flags_everything_is_there():
    _, apply, variables = started("weighted_sum")
    inputs = {name: INPUTS[name] for name in ("image", "row", "words")}
    flags = {f"{m}_present": np.ones(B, bool) for m in NAMES}
    expected = apply(variables, {**inputs, **flags}, False)
    np.testing.assert_array_equal(apply(variables, inputs, False), expected)


@pytest.mark.parametrize(
    ("changes", "inputs", "message"),
    [
        (
            {},
            {"words": None},
            r"reads the input 'words' for the modality 'text'; found ",
        ),
        ({}, {"row": None}, "reads the input 'row' for the modality 'row'"),
        ({}, {"row_present": np.ones((B, 1))}, r"'row_present' as one bool an example"),
        ({"fusion": "sum"}, {}, "unknown fusion of CrossModal 'sum'"),
        ({"trunks": {}}, {}, "was given no trunks"),
        ({"width": 0}, {}, "width=0"),
        ({"modality_dropout": 1.0}, {}, "modality_dropout=1.0"),
        (
            {"reads": {"txt": "words"}},
            {},
            "unknown modality in reads of CrossModal 'txt'",
        ),
    ],
)
def test_errors(changes, inputs, message):
    net = models.CrossModal(**{"trunks": TRUNKS, "reads": READS, **changes})
    given = {k: v for k, v in {**INPUTS, **inputs}.items() if v is not None}
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(net.init, jax.random.key(0), given)
    if not inputs:
        return
    with pytest.raises(ValueError, match="found an array of shape"):
        jax.eval_shape(net.init, jax.random.key(0), np.ones((2, 3)))


TASKS = (tasks.binary("seen"), tasks.binary("bought"))
LABELS = {"seen": np.array([1, 0, 1, 1, 0, 1]), "bought": np.array([1, 0, 0, 1, 0, 0])}
ARGUMENTS = {
    "trunks": {
        "image": {"trunk": "mlp", "features": [5]},
        "row": {"trunk": "mlp", "features": [3]},
        "text": {"trunk": "bag_of_embeddings", "width": 4},
    },
    "reads": READS,
    "width": 4,
    "features": [4],
    "modality_dropout": 0.2,
}


def by_settings(architecture="hard_sharing", trunk_args=ARGUMENTS, **arguments):
    settings = config.ModelConfig(
        trunk="cross_modal",
        trunk_args=trunk_args,
        architecture=architecture,
        architecture_args=arguments,
    )
    return build.build_model(settings, TASKS, {"vocabulary": V})


OF_SETTINGS = {
    "domain_adversarial": {"domain": "seen"},
    "task_attention": {"tower_features": [4]},
}


@pytest.mark.parametrize("name", models.ARCHITECTURES)
def test_a_trunk_below_every_architecture(name):
    model = by_settings(name, **OF_SETTINGS.get(name, {}))
    variables = jax.eval_shape(model.init, jax.random.key(0), INPUTS)
    names = [
        jax.tree_util.keystr(p) for p, _ in jax.tree.leaves_with_path(variables[0])
    ]
    for modality in NAMES:
        assert any(f"modality_{modality}" in path for path in names), names
    outputs, _ = jax.eval_shape(lambda v: model.apply(*v, INPUTS), variables)
    shapes = {task: out.shape for task, out in outputs.items()}
    assert shapes == {"seen": (B, 1), "bought": (B, 1)}


@pytest.mark.parametrize(
    ("method", "at"),
    [("uw", "parameters"), ("mgda", "representation"), ("graddrop", "parameters")],
)
def test_the_loss_falls(method, at):
    names = ("image", "row")
    trunks = {name: ARGUMENTS["trunks"][name] for name in names}
    model = by_settings(trunk_args={**ARGUMENTS, "trunks": trunks, "reads": {}})
    batch = {"inputs": INPUTS, "labels": LABELS}
    method, optimizer = build.build_method(config.MethodConfig(method)), optax.sgd(0.1)
    state = train.state.initial(model, method, optimizer, INPUTS, 2, 0)
    losses_fn = objective.make_losses(model, TASKS)
    step = train.make_train_step(losses_fn, method, optimizer, at=at, parallel="jit")
    sums = []
    for _ in range(3):
        # From the first step's key, so that the same modalities are hidden.
        first = dataclasses.replace(state, step=jnp.zeros_like(state.step))
        state, output = step(first, batch)
        sums.append(float(jnp.sum(output.losses)))
    assert sums[2] < sums[1] < sums[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, r"model\.trunk_args\.trunks=.*; found None"),
        ({"trunks": {"image": "cnn"}}, "found 'cnn' for 'image'"),
        ({"trunks": {"image": {"trunk": "cmm"}}}, "unknown trunk 'cmm'"),
        (
            {"trunks": {"image": {"trunk": "cnn", "layers": 2}}},
            "unknown argument of trunk 'cnn' 'layers'",
        ),
        ({**ARGUMENTS, "fusion": "sum"}, "model.trunk_args.fusion"),
    ],
)
def test_settings_that_name_no_trunks(arguments, message):
    with pytest.raises(ValueError, match=message):
        by_settings(trunk_args=arguments)


def test_arguments_of_a_trunk_below():
    """Also one that is called as an argument of architectures."""
    text = {"trunk": "transformer", "width": 4, "layers": 1, "heads": 2}
    model = by_settings(trunk_args={"trunks": {"text": text}, "reads": READS})
    variables = jax.eval_shape(model.init, jax.random.key(0), INPUTS)
    below = variables.shared["trunk"]["modality_text"]
    assert below["words"]["embedding"].shape == (V, 4)
