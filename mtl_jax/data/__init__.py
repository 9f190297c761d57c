"""Data: arrays in memory, TFDS sets on disk, and the order of the batches.

Readers of the user's own files are in `text` and `tables`. Importing this imports
neither TFDS nor scikit-learn nor grain; each is imported by the function that needs it.
"""

from mtl_jax.data.alternating_batches import AlternatingBatches as AlternatingBatches
from mtl_jax.data.arrays import from_arrays as from_arrays
from mtl_jax.data.arrays import from_splits as from_splits
from mtl_jax.data.batches import Batches as Batches
from mtl_jax.data.batches import evaluation_batches as evaluation_batches
from mtl_jax.data.class_counts import balanced_weights as balanced_weights
from mtl_jax.data.class_counts import balancing_draws as balancing_draws
from mtl_jax.data.class_counts import class_counts as class_counts
from mtl_jax.data.columns import read_columns as read_columns
from mtl_jax.data.drawn_batches import DrawnBatches as DrawnBatches
from mtl_jax.data.few_labels import few_labels as few_labels
from mtl_jax.data.grain import GrainBatches as GrainBatches
from mtl_jax.data.grouped_batches import GroupedBatches as GroupedBatches
from mtl_jax.data.hosts import host_part as host_part
from mtl_jax.data.modalities import without as without
from mtl_jax.data.orders import Order as Order
from mtl_jax.data.orders import order as order
from mtl_jax.data.per_task import per_task as per_task
from mtl_jax.data.preparation import info as info
from mtl_jax.data.preparation import is_prepared as is_prepared
from mtl_jax.data.preparation import listing as listing
from mtl_jax.data.preparation import prepare as prepare
from mtl_jax.data.read_ahead import ReadAhead as ReadAhead
from mtl_jax.data.recipes import RECIPES as RECIPES
from mtl_jax.data.records import RecordSource as RecordSource
from mtl_jax.data.registry import DATASETS as DATASETS
from mtl_jax.data.source import ArraySource as ArraySource
from mtl_jax.data.source import Dataset as Dataset
from mtl_jax.data.source import Inputs as Inputs
from mtl_jax.data.source import Source as Source
from mtl_jax.data.source import each as each
from mtl_jax.data.tfds import load as load
from mtl_jax.data.tfds import open_source as open_source
