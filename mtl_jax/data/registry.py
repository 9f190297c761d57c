"""The sets that mtl_jax prepares itself.

A set is a file in `builders/` with its `SPEC`, and its line here. None of them
imports TFDS, so a listing or an error text costs nothing.
"""

from mtl_jax import errors
from mtl_jax.data.builders import (
    adult,
    bike_sharing,
    census_income_kdd,
    digits,
    ewt,
    mnist,
    omniglot_small,
    parkinsons,
    qmnist,
    student,
    tox21,
    uci_sentiment,
    wnut17,
)
from mtl_jax.data.spec import Spec as Spec

DATASETS: dict[str, Spec] = {
    module.SPEC.name: module.SPEC
    for module in (
        digits,
        mnist,
        qmnist,
        omniglot_small,
        uci_sentiment,
        ewt,
        wnut17,
        adult,
        census_income_kdd,
        parkinsons,
        bike_sharing,
        student,
        tox21,
    )
}


def get(name: str) -> Spec:
    """The entry of one of our sets.

    Raises:
        ValueError: not one of ours; the nearest name is in the text.

    Example:
        >>> get("digits").splits
        {'train': 1258, 'validation': 269, 'test': 270}
    """
    if name not in DATASETS:
        raise errors.unknown_name("dataset", name, DATASETS)
    return DATASETS[name]
