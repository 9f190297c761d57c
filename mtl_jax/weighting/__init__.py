"""Weighting methods: the three kinds, every published method, and how to call them."""

from mtl_jax.weighting.aggregate import Aggregation as Aggregation
from mtl_jax.weighting.aggregate import aggregate as aggregate
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
from mtl_jax.weighting.registry import METHODS as METHODS
from mtl_jax.weighting.registry import dwa as dwa
from mtl_jax.weighting.registry import equal as equal
from mtl_jax.weighting.registry import famo as famo
from mtl_jax.weighting.registry import graddrop as graddrop
from mtl_jax.weighting.registry import make as make
from mtl_jax.weighting.registry import mgda as mgda
from mtl_jax.weighting.registry import pcgrad as pcgrad
from mtl_jax.weighting.registry import rlw as rlw
from mtl_jax.weighting.registry import static as static
from mtl_jax.weighting.registry import uw as uw
