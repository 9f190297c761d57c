"""A model whose inputs are changed at random in training."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax

from mtl_jax.models.augmentations import Augmentation
from mtl_jax.models.base import Model
from mtl_jax.typing import Array, PyTree

_STREAM = 0x617567  # apart from whatever else the model draws with its key


def augmented(model: Model, augmentations: Sequence[Augmentation]) -> Model:
    """Augment the inputs of a model within the step, on the device.

    With `train=True` and a key, the inputs pass through the augmentations, each with a
    key of its own, before the model sees them; in evaluation and prediction they do
    not. The key is that of the step, so that a resumed run augments as one that never
    stopped; each device and each part of a batch has another.

    Args:
        model: any; its parameters and everything else stay as they are.
        augmentations: `(key, x [B, ...]) -> x`, in order; `()` gives the model back.

    Returns:
        A `Model`. It raises `ValueError` for inputs of several arrays by name.

    Example:
        >>> import flax.linen as nn
        >>> import jax.numpy as jnp
        >>> from mtl_jax.models import MLP, HardSharing, from_linen
        >>> from mtl_jax.models.augmentations import noise
        >>> plain = from_linen(HardSharing(MLP((2,)), {"a": nn.Dense(1)}))
        >>> noisy, x = augmented(plain, [noise(1.0)]), jnp.ones((1, 3))
        >>> v = noisy.init(jax.random.key(0), x)
        >>> key = {"train": True, "key": jax.random.key(1)}
        >>> [bool((m.encode(v.shared, v.collections[0], x, **key)[0]
        ...        == m.encode(v.shared, v.collections[0], x)[0]).all())
        ...  for m in (plain, noisy)]
        [True, False]
    """
    if not augmentations:
        return model

    def changed(inputs: Any, keywords: Mapping[str, Any]) -> Any:
        key: Array | None = keywords.get("key")
        if not keywords.get("train") or key is None:
            return inputs
        if isinstance(inputs, Mapping):
            raise ValueError(
                f"augmentations are of one array of inputs; this data set has "
                f"{', '.join(sorted(inputs))}. Take data.augment away"
            )
        for i, augment in enumerate(augmentations):
            of_one = jax.random.fold_in(jax.random.fold_in(key, _STREAM), i)
            inputs = augment(of_one, inputs)
        return inputs

    def apply(
        shared: PyTree, specific: PyTree, collections: PyTree, inputs: Any, **more: Any
    ) -> tuple[dict[str, Any], PyTree]:
        return model.apply(shared, specific, collections, changed(inputs, more), **more)

    def encode(
        shared: PyTree, collections: PyTree, inputs: Any, **more: Any
    ) -> tuple[PyTree, PyTree]:
        assert model.encode is not None
        return model.encode(shared, collections, changed(inputs, more), **more)

    return model._replace(apply=apply, encode=None if model.encode is None else encode)
