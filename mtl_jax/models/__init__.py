"""Models: Linen trunks and architectures, and the contract that any model can meet."""

from mtl_jax.models.aitm import AITM as AITM
from mtl_jax.models.architectures import ARCHITECTURES as ARCHITECTURES
from mtl_jax.models.architectures import BY_POSITION as BY_POSITION
from mtl_jax.models.architectures import OF_VECTORS as OF_VECTORS
from mtl_jax.models.augmentations import AUGMENTATIONS as AUGMENTATIONS
from mtl_jax.models.augmented import augmented as augmented
from mtl_jax.models.base import Model as Model
from mtl_jax.models.base import Variables as Variables
from mtl_jax.models.cross_stitch import CrossStitch as CrossStitch
from mtl_jax.models.domain_adversarial import (
    DomainAdversarial as DomainAdversarial,
)
from mtl_jax.models.dselect_k import DSelectK as DSelectK
from mtl_jax.models.esmm import ESMM as ESMM
from mtl_jax.models.esmm import conditional_logits as conditional_logits
from mtl_jax.models.film import FiLM as FiLM
from mtl_jax.models.gradient_reversal import gradient_reversal as gradient_reversal
from mtl_jax.models.hard_sharing import HardSharing as HardSharing
from mtl_jax.models.head_ensemble import HeadEnsemble as HeadEnsemble
from mtl_jax.models.heads import Head as Head
from mtl_jax.models.late_fusion import LateFusion as LateFusion
from mtl_jax.models.learning_to_branch import LearningToBranch as LearningToBranch
from mtl_jax.models.learning_to_branch import learned_branches as learned_branches
from mtl_jax.models.linen import from_linen as from_linen
from mtl_jax.models.match_params import Match as Match
from mtl_jax.models.match_params import count_params as count_params
from mtl_jax.models.match_params import match_params as match_params
from mtl_jax.models.mixed_precision import in_dtype as in_dtype
from mtl_jax.models.mmoe import MMoE as MMoE
from mtl_jax.models.mtan import MTAN as MTAN
from mtl_jax.models.penalised import Penalised as Penalised
from mtl_jax.models.ple import CGC as CGC
from mtl_jax.models.ple import PLE as PLE
from mtl_jax.models.shared_private import SharedPrivate as SharedPrivate
from mtl_jax.models.sluice import Sluice as Sluice
from mtl_jax.models.soft_sharing import SoftSharing as SoftSharing
from mtl_jax.models.stages import stages as stages
from mtl_jax.models.sub_network import SubNetworkRouting as SubNetworkRouting
from mtl_jax.models.task_attention import TaskAttention as TaskAttention
from mtl_jax.models.trace_norm import trace_norm as trace_norm
from mtl_jax.models.trunks import CNN as CNN
from mtl_jax.models.trunks import MLP as MLP
from mtl_jax.models.trunks import TEXT_TRUNKS as TEXT_TRUNKS
from mtl_jax.models.trunks import TRUNKS as TRUNKS
from mtl_jax.models.trunks import BagOfEmbeddings as BagOfEmbeddings
from mtl_jax.models.trunks import BiLSTM as BiLSTM
from mtl_jax.models.trunks import CrossModal as CrossModal
from mtl_jax.models.trunks import DilatedCNN as DilatedCNN
from mtl_jax.models.trunks import ResNet as ResNet
from mtl_jax.models.trunks import TabularEmbedding as TabularEmbedding
from mtl_jax.models.trunks import Transformer as Transformer
from mtl_jax.models.trunks import Vectors as Vectors
from mtl_jax.models.trunks import VisionTransformer as VisionTransformer
from mtl_jax.models.trunks import resnet18 as resnet18
from mtl_jax.models.trunks import resnet34 as resnet34
from mtl_jax.models.trunks import resnet50 as resnet50
