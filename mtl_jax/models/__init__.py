"""Models: Linen trunks and architectures, and the contract that any model can meet."""

from mtl_jax.models.base import Model as Model
from mtl_jax.models.base import Variables as Variables
from mtl_jax.models.hard_sharing import HardSharing as HardSharing
from mtl_jax.models.heads import Head as Head
from mtl_jax.models.linen import from_linen as from_linen
from mtl_jax.models.mixed_precision import in_dtype as in_dtype
from mtl_jax.models.trunks import CNN as CNN
from mtl_jax.models.trunks import MLP as MLP
from mtl_jax.models.trunks import TEXT_TRUNKS as TEXT_TRUNKS
from mtl_jax.models.trunks import TRUNKS as TRUNKS
from mtl_jax.models.trunks import BagOfEmbeddings as BagOfEmbeddings
from mtl_jax.models.trunks import BiLSTM as BiLSTM
from mtl_jax.models.trunks import DilatedCNN as DilatedCNN
from mtl_jax.models.trunks import ResNet as ResNet
from mtl_jax.models.trunks import TabularEmbedding as TabularEmbedding
from mtl_jax.models.trunks import Transformer as Transformer
from mtl_jax.models.trunks import Vectors as Vectors
from mtl_jax.models.trunks import VisionTransformer as VisionTransformer
from mtl_jax.models.trunks import resnet18 as resnet18
from mtl_jax.models.trunks import resnet34 as resnet34
from mtl_jax.models.trunks import resnet50 as resnet50
