"""Weighting methods: the three kinds, every published method, and how to call them."""

from mtl_jax.weighting.aggregate import Aggregation as Aggregation
from mtl_jax.weighting.aggregate import aggregate as aggregate
from mtl_jax.weighting.algebra.chain import chain as chain
from mtl_jax.weighting.algebra.curriculum import curriculum as curriculum
from mtl_jax.weighting.algebra.ema import ema as ema
from mtl_jax.weighting.algebra.every_k import every_k as every_k
from mtl_jax.weighting.algebra.heads import with_head_weights as with_head_weights
from mtl_jax.weighting.algebra.lifts import as_aggregator as as_aggregator
from mtl_jax.weighting.algebra.lifts import as_gramian as as_gramian
from mtl_jax.weighting.algebra.log_losses import with_log_losses as with_log_losses
from mtl_jax.weighting.algebra.matched_scale import matched_scale as matched_scale
from mtl_jax.weighting.algebra.normalise import normalise as normalise
from mtl_jax.weighting.algebra.paths import by_layer as by_layer
from mtl_jax.weighting.algebra.paths import by_leaf as by_leaf
from mtl_jax.weighting.algebra.per_group import per_group as per_group
from mtl_jax.weighting.algebra.restrict import restrict as restrict
from mtl_jax.weighting.algebra.sketch import sketch as sketch
from mtl_jax.weighting.algebra.solver_dtype import (
    with_solver_dtype as with_solver_dtype,
)
from mtl_jax.weighting.algebra.switch import switch as switch
from mtl_jax.weighting.base import AnyMethod as AnyMethod
from mtl_jax.weighting.base import BilevelProblem as BilevelProblem
from mtl_jax.weighting.base import BilevelWeighting as BilevelWeighting
from mtl_jax.weighting.base import EmptyState as EmptyState
from mtl_jax.weighting.base import GradientAggregator as GradientAggregator
from mtl_jax.weighting.base import GramianWeighting as GramianWeighting
from mtl_jax.weighting.base import LossWeighting as LossWeighting
from mtl_jax.weighting.base import Method as Method
from mtl_jax.weighting.base import SolverReport as SolverReport
from mtl_jax.weighting.catalogue import Description as Description
from mtl_jax.weighting.catalogue import describe as describe
from mtl_jax.weighting.citations import citation as citation
from mtl_jax.weighting.loss_based.preference import (
    preference_vectors as preference_vectors,
)
from mtl_jax.weighting.registry import METHODS as METHODS
from mtl_jax.weighting.registry import aligned_mtl as aligned_mtl
from mtl_jax.weighting.registry import alternate as alternate
from mtl_jax.weighting.registry import auto_lambda as auto_lambda
from mtl_jax.weighting.registry import bandit as bandit
from mtl_jax.weighting.registry import cagrad as cagrad
from mtl_jax.weighting.registry import config as config
from mtl_jax.weighting.registry import cosmos as cosmos
from mtl_jax.weighting.registry import cr_mogm as cr_mogm
from mtl_jax.weighting.registry import db_mtl as db_mtl
from mtl_jax.weighting.registry import dtp as dtp
from mtl_jax.weighting.registry import dualproj as dualproj
from mtl_jax.weighting.registry import dwa as dwa
from mtl_jax.weighting.registry import equal as equal
from mtl_jax.weighting.registry import excess_mtl as excess_mtl
from mtl_jax.weighting.registry import fairgrad as fairgrad
from mtl_jax.weighting.registry import famo as famo
from mtl_jax.weighting.registry import focal as focal
from mtl_jax.weighting.registry import forum as forum
from mtl_jax.weighting.registry import gls as gls
from mtl_jax.weighting.registry import graddrop as graddrop
from mtl_jax.weighting.registry import gradnorm as gradnorm
from mtl_jax.weighting.registry import gradvac as gradvac
from mtl_jax.weighting.registry import imtl_g as imtl_g
from mtl_jax.weighting.registry import imtl_l as imtl_l
from mtl_jax.weighting.registry import krum as krum
from mtl_jax.weighting.registry import make as make
from mtl_jax.weighting.registry import metabalance as metabalance
from mtl_jax.weighting.registry import mgda as mgda
from mtl_jax.weighting.registry import moco as moco
from mtl_jax.weighting.registry import modo as modo
from mtl_jax.weighting.registry import momentum_config as momentum_config
from mtl_jax.weighting.registry import moml as moml
from mtl_jax.weighting.registry import nash_mtl as nash_mtl
from mtl_jax.weighting.registry import pbi as pbi
from mtl_jax.weighting.registry import pcd as pcd
from mtl_jax.weighting.registry import pcgrad as pcgrad
from mtl_jax.weighting.registry import preference as preference
from mtl_jax.weighting.registry import rlw as rlw
from mtl_jax.weighting.registry import sdmgrad as sdmgrad
from mtl_jax.weighting.registry import si as si
from mtl_jax.weighting.registry import static as static
from mtl_jax.weighting.registry import stch as stch
from mtl_jax.weighting.registry import stch_mtl as stch_mtl
from mtl_jax.weighting.registry import tchebycheff as tchebycheff
from mtl_jax.weighting.registry import trimmed_mean as trimmed_mean
from mtl_jax.weighting.registry import upgrad as upgrad
from mtl_jax.weighting.registry import uw as uw
from mtl_jax.weighting.wrappers import WRAPPERS as WRAPPERS
from mtl_jax.weighting.wrappers import wrap as wrap
