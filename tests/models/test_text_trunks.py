"""Trunks of text: padding changes nothing, and what they compute, in NumPy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from models.test_image_trunks import block, layer_norm
from models.trunk_cases import TEXT, VECTORS, V, drawn

from mtl_jax import models, objective, tasks, train, weighting
from mtl_jax.models import Vectors
from mtl_jax.models.base import FROZEN

TOKENS = TEXT["tokens"]
LENGTHS = [5, 1, 7, 3]
TRUNKS = {
    "bag": models.BagOfEmbeddings(V, 6),
    "bilstm": models.BiLSTM(V, 4, hidden=3, layers=2),
    "transformer": models.Transformer(V, 6, 2, 2),
    "transformer_learned": models.Transformer(V, 6, 1, 3, positions="learned"),
    "transformer_vectors": models.Transformer(V, 6, 1, 2, vectors=VECTORS),
}
trunks = pytest.mark.parametrize("name", TRUNKS)


@functools.cache
def start(name):
    """Variables, none of them at its initial value, and `(variables, tokens) -> …`."""
    trunk = TRUNKS[name]
    variables = drawn(jax.eval_shape(trunk.init, jax.random.key(0), TEXT))

    def apply(variables, tokens):
        return trunk.apply(variables, {"tokens": tokens})

    return variables, jax.jit(apply)


def close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@trunks
def test_padding_changes_nothing(name):
    variables, apply = start(name)
    out = apply(variables, TOKENS)
    more = apply(variables, np.pad(TOKENS, ((0, 0), (0, 6))))
    close(more["pooled"], out["pooled"])
    close(more["tokens"][:, :7], out["tokens"])
    assert not np.any(more["tokens"][:, 7:])
    for row, length in enumerate(LENGTHS):
        assert not np.any(out["tokens"][row, length:])
        assert np.all(np.any(out["tokens"][row, :length], axis=-1))
    alone = apply(variables, TOKENS[3:, :3])
    close(alone["pooled"][0], out["pooled"][3])
    close(alone["tokens"][0], out["tokens"][3, :3])


@trunks
def test_padding_is_not_learned_from(name):
    """Nor is a text without words, which has the representation 0."""
    variables, apply = start(name)
    tokens = np.concatenate([TOKENS, np.zeros((1, 7), np.int32)])

    def loss(params):
        out = apply({**variables, "params": params}, tokens)
        return sum(jnp.sum(leaf**3) for leaf in out.values()), out

    grads, out = jax.jit(jax.grad(loss, has_aux=True))(variables["params"])
    assert not np.any(out["tokens"][-1]) and not np.any(out["pooled"][-1])
    close(out["pooled"][:-1], apply(variables, TOKENS)["pooled"])
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(grads))
    rows = np.asarray(grads["words"]["embedding"])
    assert np.any(rows != 0, axis=1).tolist() == [False, *[True] * (V - 1)]


@trunks
def test_ids_beyond_the_vocabulary_are_not_passed_over(name):
    variables, apply = start(name)
    tokens = TOKENS.copy()
    tokens[1, 0] = V
    out = apply(variables, tokens)
    assert np.isnan(out["pooled"]).any(1).tolist() == [False, True, False, False]


@trunks
def test_places_matter_to_all_but_the_bag(name):
    variables, apply = start(name)
    turned = TOKENS.copy()
    turned[2] = TOKENS[2, ::-1]
    a, b = (apply(variables, tokens)["pooled"][2] for tokens in (TOKENS, turned))
    assert np.allclose(a, b, atol=1e-4) is (name == "bag")


def test_bag_is_the_mean_of_its_words():
    variables, apply = start("bag")
    table = variables["params"]["words"]["embedding"]
    out = apply(variables, TOKENS)
    for row, length in enumerate(LENGTHS):
        words = table[TOKENS[row, :length]]
        close(out["tokens"][row, :length], words)
        close(out["pooled"][row], words.mean(0))


def wide(params):
    return jax.tree.map(lambda a: a.astype(np.float64), params)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def lstm(words, p):
    """One LSTM over `[L, E]`, equation by equation: outputs `[L, hidden]`."""
    hidden = p["hi"]["bias"].shape[0]
    h, c, outputs = np.zeros(hidden), np.zeros(hidden), []
    for x in words:
        i, f, g, o = (
            x @ p[f"i{n}"]["kernel"] + h @ p[f"h{n}"]["kernel"] + p[f"h{n}"]["bias"]
            for n in "ifgo"
        )
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        outputs.append(h)
    return np.stack(outputs)


def test_bilstm_is_two_lstms_a_layer():
    variables, apply = start("bilstm")
    p, out = wide(variables["params"]), apply(variables, TOKENS)
    for row, length in enumerate(LENGTHS):
        x = p["words"]["embedding"][TOKENS[row, :length]]
        for layer in (0, 1):
            ahead = lstm(x, p[f"forward{layer}"])
            back = lstm(x[::-1], p[f"backward{layer}"])[::-1]
            x = np.concatenate([ahead, back], -1)
        close(out["tokens"][row, :length], x)
        last = np.concatenate([ahead[-1], back[0]])
        close(out["pooled"][row], last)


def test_transformer_is_its_blocks():
    variables, apply = start("transformer")
    p, out = wide(variables["params"]), apply(variables, TOKENS)
    for row, length in enumerate(LENGTHS):
        x = p["words"]["embedding"][TOKENS[row, :length]] * np.sqrt(6)
        for place in range(length):
            for i in range(3):
                angle = place / 10_000 ** (i / 3)
                x[place, i] += np.sin(angle)
                x[place, i + 3] += np.cos(angle)
        x = block(block(x[None], p["block0"]), p["block1"])
        x = layer_norm(x, p["LayerNorm_0"])[0]
        close(out["tokens"][row, :length], x)
        close(out["pooled"][row], x.mean(0))


def test_attention_looks_at_words_alone():
    """No output depends on the vector at a padded place, whatever stands there."""
    variables, apply = start("transformer_learned")
    params = variables["params"]
    positions = params["positions"].copy()
    positions[5:] += 100.0  # beyond the words of all but the third text
    changed = {**variables, "params": {**params, "positions": positions}}
    a, b = (apply(given, TOKENS) for given in (variables, changed))
    rows = np.array([0, 1, 3])
    np.testing.assert_array_equal(a["pooled"][rows], b["pooled"][rows])
    np.testing.assert_array_equal(a["tokens"][rows], b["tokens"][rows])
    assert not np.allclose(a["pooled"][2], b["pooled"][2])


def test_learned_positions_have_an_end():
    trunk = models.Transformer(V, 6, 1, 2, positions="learned", max_length=6)
    with pytest.raises(ValueError, match=r"max_length=6 words; found texts of 7\."):
        trunk.init(jax.random.key(0), TEXT)
    with pytest.raises(ValueError, match="unknown positions of Transformer 'none'"):
        trunk.clone(positions="none").init(jax.random.key(0), TEXT)


@pytest.mark.parametrize("freeze", [False, True])
@pytest.mark.parametrize("kind", [np.asarray, jnp.asarray, Vectors])
def test_pretrained_vectors(kind, freeze):
    trunk = models.BagOfEmbeddings(V, 5, (4,), vectors=kind(VECTORS), freeze=freeze)
    variables = trunk.init(jax.random.key(0), TEXT)
    where = variables[FROZEN if freeze else "params"]["words"]
    np.testing.assert_array_equal(where["embedding"], VECTORS)
    assert ("words" in variables["params"]) is not freeze
    out = trunk.apply(variables, TEXT)
    np.testing.assert_array_equal(out["tokens"][3, :3], VECTORS[[5, 4, 3]])


def test_vectors_of_another_width_pass_a_dense_layer():
    trunk = models.BagOfEmbeddings(V, 4, vectors=VECTORS, freeze=True)
    variables = trunk.init(jax.random.key(0), TEXT)
    kernel = np.asarray(variables["params"]["words"]["Dense_0"]["kernel"])
    found = trunk.apply(variables, TEXT)["tokens"][3, :3]
    np.testing.assert_allclose(found, VECTORS[[5, 4, 3]] @ kernel, rtol=1e-5)


def test_vectors_that_do_not_fit():
    def fails(text, **fields):
        with pytest.raises(ValueError, match=text):
            models.BagOfEmbeddings(V, 5, **fields).init(jax.random.key(0), TEXT)

    fails(r"of shape \(8, 5\); give one row for each of the voc", vectors=VECTORS[1:])
    fails("freeze=True and no vectors", freeze=True)
    fails("no parameters: its vectors are frozen", freeze=True, vectors=VECTORS)
    with pytest.raises(ValueError, match=r"a table \[V, E\].* of shape \(5,\)"):
        Vectors(VECTORS[0])


def test_a_module_holds_vectors():
    a, b = Vectors(VECTORS), Vectors(VECTORS + 0)
    assert a == b and hash(a) == hash(b) and a != Vectors(VECTORS + 1)
    assert models.BiLSTM(V, vectors=a) == models.BiLSTM(V, vectors=b)
    assert len({models.BiLSTM(V, vectors=v) for v in (a, b)}) == 1


@pytest.mark.parametrize("devices", [1, 3])
def test_frozen_vectors_stay_as_they_are(devices):
    """Through steps with weight decay, and to the bit on any number of devices."""
    trunk = models.BagOfEmbeddings(V, 5, (4,), vectors=VECTORS, freeze=True)
    heads = {n: models.Head(1, reads="pooled") for n in "ab"}
    model = models.from_linen(models.HardSharing(trunk, heads))
    start = jax.jit(model.init)(jax.random.key(0), TEXT)
    method, optimizer = weighting.make("mgda"), optax.adamw(0.1, weight_decay=0.5)
    state = train.create(
        start.shared,
        start.specific,
        method=method,
        optimizer=optimizer,
        num_tasks=2,
        collections=start.collections,
    )
    step = train.make_train_step(
        objective.make_losses(model, [tasks.regression(n) for n in "ab"]),
        method,
        optimizer,
        parallel="pmap" if devices > 1 else "jit",
        devices=jax.devices()[:devices],
    )
    rng = np.random.default_rng(0)
    count = 6
    batch = {
        "inputs": {"tokens": np.concatenate([TOKENS, TOKENS[:2]])},
        "labels": {n: rng.normal(size=count).astype(np.float32) for n in "ab"},
    }
    for _ in range(4):
        state, out = step(state, batch)
    assert np.all(out.finite)
    frozen = state.collections[0][FROZEN]["trunk"]["words"]["embedding"]
    np.testing.assert_array_equal(frozen, VECTORS)
    dense = state.shared["trunk"]["Dense_0"]["kernel"]
    assert np.abs(dense - start.shared["trunk"]["Dense_0"]["kernel"]).max() > 0.05
