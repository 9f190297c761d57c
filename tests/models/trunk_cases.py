"""A small instance of every trunk, with inputs that it reads."""

from typing import NamedTuple

import flax.linen as nn
import jax
import numpy as np

from mtl_jax import models

B, V = 4, 9
RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(B, 8, 8, 3)).astype(np.float32)
TEXT = {
    "tokens": np.array(
        [
            [2, 3, 4, 5, 8, 0, 0],
            [6, 0, 0, 0, 0, 0, 0],
            [2, 2, 7, 1, 3, 4, 2],
            [5, 4, 3, 0, 0, 0, 0],
        ],
        np.int32,
    )
}
TABLE = {
    "numeric": RNG.normal(size=(B, 3)).astype(np.float32),
    "categories": np.array([[1, 0], [2, 4], [0, 3], [1, 1]], np.int32),
}
VECTORS = RNG.normal(size=(V, 5)).astype(np.float32)


class Case(NamedTuple):
    trunk: nn.Module
    inputs: object
    shape: object  # of the representation, without the examples
    reads: str | None = None  # what heads read


def drawn(shapes, dtype=np.float32):
    """Values for variables, none of which is 0 or 1; faster than to compile `init`."""
    rng = np.random.default_rng(3)

    def one(path, leaf):
        positive = path[0].key in ("batch_stats", "frozen")
        values = rng.uniform(0.5 if positive else -0.5, 1.5, leaf.shape)
        fan_in = np.prod(leaf.shape[:-1]) if len(leaf.shape) > 1 else 1
        return (values / np.sqrt(fan_in)).astype(dtype)

    return jax.tree_util.tree_map_with_path(one, dict(shapes))


def text(words, width):
    return {"tokens": (7, words), "pooled": (width,)}


CASES = {
    "mlp": Case(models.MLP((5,)), IMAGES, (5,)),
    "cnn": Case(
        models.CNN((4, 5), dense=(6,), batch_norm=True, dropout=0.2), IMAGES, (6,)
    ),
    "cnn_mean": Case(models.CNN((4,), dense=(), pooling="mean"), IMAGES, (4,)),
    "resnet": Case(models.ResNet((1, 1), width=4, stem="small"), IMAGES, (8,)),
    "resnet_group": Case(
        models.ResNet((1, 1), "bottleneck", 4, "group", "small"), IMAGES, (32,)
    ),
    "dilated_cnn": Case(
        models.DilatedCNN(4, (1, 2), batch_norm=True, dropout=0.2), IMAGES, (8, 8, 4)
    ),
    "vision_transformer": Case(
        models.VisionTransformer(4, 6, 1, 2, dropout=0.2), IMAGES, (6,)
    ),
    "vision_transformer_mean": Case(
        models.VisionTransformer(4, 6, 1, 2, pooling="mean"), IMAGES, (6,)
    ),
    "bag_of_embeddings": Case(
        models.BagOfEmbeddings(V, 6, (5,), dropout=0.2), TEXT, text(6, 5), "pooled"
    ),
    "bag_of_frozen_vectors": Case(
        models.BagOfEmbeddings(V, 4, vectors=VECTORS, freeze=True),
        TEXT,
        text(4, 4),
        "tokens",
    ),
    "bilstm": Case(
        models.BiLSTM(V, 4, hidden=3, layers=2, dropout=0.2), TEXT, text(6, 6), "tokens"
    ),
    "transformer": Case(
        models.Transformer(V, 6, 1, 2, dropout=0.2), TEXT, text(6, 6), "pooled"
    ),
    "transformer_learned": Case(
        models.Transformer(V, 4, 1, 2, positions="learned", vectors=VECTORS),
        TEXT,
        text(4, 4),
        "tokens",
    ),
    "cross_modal": Case(
        models.CrossModal(
            {"row": models.MLP((5,)), "text": models.BagOfEmbeddings(V, 4)},
            {"text": {"tokens": "words"}},
            width=6,
            features=(5,),
            modality_dropout=0.3,
        ),
        {
            "row": TABLE["numeric"],
            "words": TEXT["tokens"],
            "text_present": np.array([True, True, False, True]),
        },
        (5,),
    ),
    "tabular_embedding": Case(
        models.TabularEmbedding((3, 5), (6, 5), batch_norm=True, dropout=0.2),
        TABLE,
        (5,),
    ),
}
