"""Persons of the US census: income, and whether they never married."""

import os
from collections.abc import Sequence

from mtl_jax.data import source
from mtl_jax.data.recipes.table import table


def adult(
    *,
    validation: float = 0.1,
    drop: Sequence[str] = (),
    seed: int = 0,
    data_dir: str | os.PathLike[str] | None = None,
) -> source.Dataset:
    """Adult: `income` above 50,000 dollars and `never_married`, two binary tasks.

    Inputs are the other 11 columns; `relationship`, which says who is a spouse, and the
    weight `fnlwgt` are none.

    Args:
        validation: share of the official training split that is held out.
        drop: further columns to leave out.
        seed: of the validation split.
        data_dir: where Adult is prepared.

    Returns:
        Inputs `{"numeric", "categories"}`; the test split is the official one.

    Raises:
        FileNotFoundError: Adult is not prepared; the text holds the command.
    """
    return table(
        path="adult",
        drop=drop,
        fractions=(1 - validation, validation, 0.0),
        seed=seed,
        data_dir=data_dir,
    )


def census_income_kdd(
    *,
    fractions: Sequence[float] = (0.6, 0.1, 0.3),
    drop: Sequence[str] = (),
    seed: int = 0,
    data_dir: str | os.PathLike[str] | None = None,
) -> source.Dataset:
    """Census-Income (KDD): `income` above 50,000 dollars and `never_married`.

    The first pair of tasks of the paper on mixtures of experts, with 39 columns as
    inputs: all but the two of the tasks and the weight of a person. As in the paper
    some of these speak of the family (`tax_filer_status`, `family_members_under_18`,
    and `detailed_household_and_family_stat`, which has the words "never marr"), so that
    the second task is easy; `drop` takes them away.

    Args:
        fractions: of train, validation and test, by row; the set has one split only.
        drop: further columns to leave out.
        seed: of the split.
        data_dir: where the set is prepared.

    Returns:
        Inputs `{"numeric", "categories"}`.

    Raises:
        FileNotFoundError: the set is not prepared; the text holds the command.

    References:
        Ma et al., Modeling Task Relationships in Multi-task Learning with Multi-gate
        Mixture-of-Experts, KDD 2018, section 5.2. Differs: the persons are those of the
        official test file, half of all.
    """
    return table(
        path="census_income_kdd",
        drop=drop,
        fractions=fractions,
        seed=seed,
        data_dir=data_dir,
    )
