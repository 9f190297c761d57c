"""Shared trunks: what all tasks of a model have in common."""

from collections.abc import Callable
from typing import Any

from mtl_jax.models.trunks.bag_of_embeddings import BagOfEmbeddings as BagOfEmbeddings
from mtl_jax.models.trunks.bilstm import BiLSTM as BiLSTM
from mtl_jax.models.trunks.cnn import CNN as CNN
from mtl_jax.models.trunks.cross_modal import CrossModal as CrossModal
from mtl_jax.models.trunks.dilated_cnn import DilatedCNN as DilatedCNN
from mtl_jax.models.trunks.mlp import MLP as MLP
from mtl_jax.models.trunks.resnet import ResNet as ResNet
from mtl_jax.models.trunks.resnet import resnet18 as resnet18
from mtl_jax.models.trunks.resnet import resnet34 as resnet34
from mtl_jax.models.trunks.resnet import resnet50 as resnet50
from mtl_jax.models.trunks.table import TabularEmbedding as TabularEmbedding
from mtl_jax.models.trunks.transformer import Transformer as Transformer
from mtl_jax.models.trunks.vision_transformer import (
    VisionTransformer as VisionTransformer,
)
from mtl_jax.models.trunks.words import Vectors as Vectors

TRUNKS: dict[str, Callable[..., Any]] = {
    "bag_of_embeddings": BagOfEmbeddings,
    "bilstm": BiLSTM,
    "cnn": CNN,
    "cross_modal": CrossModal,
    "dilated_cnn": DilatedCNN,
    "mlp": MLP,
    "resnet": ResNet,
    "resnet18": resnet18,
    "resnet34": resnet34,
    "resnet50": resnet50,
    "tabular_embedding": TabularEmbedding,
    "transformer": Transformer,
    "vision_transformer": VisionTransformer,
}
"""Every trunk by name: a factory whose arguments are the trunk's fields."""

TEXT_TRUNKS = ("bag_of_embeddings", "bilstm", "transformer")
"""Those whose representation has a part for every word and one for the whole text."""
