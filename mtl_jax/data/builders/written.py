"""A TFDS builder from a spec: it writes without TensorFlow and without a network."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from mtl_jax.data import spec as spec_lib


def builder_class(spec: spec_lib.Spec) -> type[tfds.core.GeneratorBasedBuilder]:
    """The builder of one of our sets; `manual_dir` is the folder of its files.

    Example:
        >>> from mtl_jax.data import registry
        >>> builder_class(registry.get("digits")).name
        'digits'
    """

    class FromSpec(  # type: ignore[call-arg]
        tfds.core.GeneratorBasedBuilder, skip_registration=True
    ):
        name = spec.name
        VERSION = tfds.core.Version(spec.version)
        MANUAL_DOWNLOAD_INSTRUCTIONS = (
            f"{', '.join(file.name for file in spec.files)}; zipped or not"
            if spec.files
            else None
        )

        def _info(self) -> tfds.core.DatasetInfo:
            image_set = {"image", "label"} <= set(spec.features)
            return tfds.core.DatasetInfo(
                builder=self,
                description=spec.summary,
                features=features(spec.features),
                supervised_keys=("image", "label") if image_set else None,
                homepage=spec.source,
                license=spec.licence,
            )

        def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[Any]]:
            folder = Path(dl_manager.manual_dir) if spec.files else Path()
            return {
                name: self._generate_examples(examples)
                for name, examples in spec.read(folder).items()
            }

        def _generate_examples(
            self, examples: Iterable[spec_lib.Example]
        ) -> Iterator[spec_lib.Example]:
            yield from examples

    return FromSpec


def features(described: Mapping[str, Mapping[str, Any]]) -> Any:
    """The `FeaturesDict` of `Spec.features`."""
    return tfds.features.FeaturesDict(
        {name: _feature(entry) for name, entry in described.items()}
    )


def _feature(entry: Mapping[str, Any]) -> Any:
    shape, dtype = entry["shape"], entry["dtype"]
    if entry.get("encoding") == "png":
        return tfds.features.Image(shape=shape)
    if "classes" in entry:
        return tfds.features.ClassLabel(names=entry["classes"])
    if "num_classes" in entry:
        return tfds.features.ClassLabel(num_classes=entry["num_classes"])
    if dtype == "string":
        text = tfds.features.Text()
        return text if shape == () else tfds.features.Sequence(text)
    if shape == ():
        return tfds.features.Scalar(dtype=np.dtype(dtype))
    return tfds.features.Tensor(shape=shape, dtype=np.dtype(dtype))
