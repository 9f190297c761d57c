"""Inputs of several kinds, of which an example may lack some."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from mtl_jax.data import source


def without(whole: source.ArraySource, missing: Sequence[str]) -> source.ArraySource:
    """The same examples, each without some of its modalities.

    `models.CrossModal` does not look at what a modality holds in an example where the
    input `NAME_present` is False; here it is so in all of them.

    Args:
        whole: with several inputs by name.
        missing: the modalities, as the trunk calls them.

    Returns:
        A source with the inputs `NAME_present`, bool `[N]`; the others are as before.

    Raises:
        ValueError: inputs without names.

    Example:
        >>> both = source.ArraySource({"a": np.ones((2, 3)), "b": np.ones((2, 1))},
        ...                           {"y": np.zeros(2)})
        >>> without(both, ["a"]).inputs["a_present"].tolist()
        [False, False]
    """
    if not isinstance(whole.inputs, dict):
        raise ValueError(
            f"the modalities {', '.join(missing)} cannot be taken out of one array of "
            f"inputs, {list(whole.inputs.shape)}; give inputs by name"
        )
    absent = {f"{name}_present": np.zeros(len(whole), bool) for name in missing}
    return dataclasses.replace(whole, inputs={**whole.inputs, **absent})
