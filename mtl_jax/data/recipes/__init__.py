"""Recipes: data sets that are made of prepared sets, or of the user's files.

A recipe is a pure function of its arguments, seeds included: the same call gives the
same examples. Settings name them, `data.name`, with their arguments in `data.args`.
"""

import inspect
import os
from collections.abc import Callable
from typing import Any

from mtl_jax import factories
from mtl_jax.data import source
from mtl_jax.data.recipes.click_conversion import click_conversion
from mtl_jax.data.recipes.conll import conll
from mtl_jax.data.recipes.dense_arrays import dense_arrays
from mtl_jax.data.recipes.digit_and_writer import digit_and_writer
from mtl_jax.data.recipes.documents import documents
from mtl_jax.data.recipes.ewt_tags import ewt_tags
from mtl_jax.data.recipes.few_digits import few_digits
from mtl_jax.data.recipes.income import adult, census_income_kdd
from mtl_jax.data.recipes.many_tasks import many_tasks
from mtl_jax.data.recipes.mmoe_synthetic import mmoe_synthetic
from mtl_jax.data.recipes.mnist_features import mnist_features
from mtl_jax.data.recipes.mnist_scenes import mnist_scenes
from mtl_jax.data.recipes.multi_mnist import multi_mnist
from mtl_jax.data.recipes.omniglot import omniglot
from mtl_jax.data.recipes.sentiment import sentiment
from mtl_jax.data.recipes.sentiment_adaptation import sentiment_adaptation
from mtl_jax.data.recipes.stroke_mass import stroke_mass
from mtl_jax.data.recipes.table import table
from mtl_jax.data.recipes.tox21 import tox21
from mtl_jax.data.recipes.tox21_smiles import tox21_smiles
from mtl_jax.data.recipes.words_and_documents import words_and_documents

RECIPES: dict[str, Callable[..., source.Dataset]] = {
    "adult": adult,
    "census_income_kdd": census_income_kdd,
    "click_conversion": click_conversion,
    "conll": conll,
    "dense_arrays": dense_arrays,
    "digit_and_writer": digit_and_writer,
    "documents": documents,
    "ewt_tags": ewt_tags,
    "few_digits": few_digits,
    "many_tasks": many_tasks,
    "mmoe_synthetic": mmoe_synthetic,
    "mnist_features": mnist_features,
    "mnist_scenes": mnist_scenes,
    "multi_mnist": multi_mnist,
    "omniglot": omniglot,
    "sentiment": sentiment,
    "sentiment_adaptation": sentiment_adaptation,
    "stroke_mass": stroke_mass,
    "table": table,
    "tox21": tox21,
    "tox21_smiles": tox21_smiles,
    "words_and_documents": words_and_documents,
}
"""Every recipe by name."""


def make(
    name: str, data_dir: str | os.PathLike[str] | None = None, **arguments: Any
) -> source.Dataset:
    """The data set of a recipe.

    Args:
        name: a key of `RECIPES`.
        data_dir: where prepared sets are; default `$TFDS_DATA_DIR`, else
            `~/tensorflow_datasets`.
        **arguments: of the recipe.

    Returns:
        A `Dataset`.

    Raises:
        ValueError: an unknown recipe or argument, or a wrong one.
        FileNotFoundError: a set that it needs is not prepared; the text holds the
            command that prepares it.
    """
    recipe = RECIPES.get(name)
    if recipe is not None and "data_dir" in inspect.signature(recipe).parameters:
        arguments = {**arguments, "data_dir": data_dir}
    return factories.make("recipe", RECIPES, name, arguments)
