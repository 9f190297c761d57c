"""Records of a TFDS array_record split, decoded many at a time.

TFDS decodes any feature, one record at a time. What most sets consist of (images,
numbers of a fixed shape, texts and sequences of both) is decoded here straight from the
record, to the same values in half the time; everything else goes through TFDS.
"""

import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

CHUNK = 4096


class RecordSource:
    """One split on disk; records are read and decoded when they are asked for.

    Args:
        builder: a TFDS builder whose files are array_records.
        split: a split, or a slice of one such as `"train[:90%]"`.
        input_key: the feature that is the input.
        label_keys: the features that are labels; nested ones as `"group/name"`.

    `mtl_jax.data.open_source` makes one, with an example.
    """

    def __init__(
        self, builder: Any, split: str, input_key: str, label_keys: Sequence[str]
    ) -> None:
        import tensorflow_datasets

        method = tensorflow_datasets.decode.DeserializeMethod.RAW_BYTES
        self.input_key, self.label_keys = input_key, tuple(label_keys)
        self.split, self.directory = split, str(builder.data_dir)
        self._features = builder.info.features
        self._records = builder.as_data_source(split, deserialize_method=method)
        flat = flatten(self._features)
        self._readers = {key: _reader(flat[key]) for key in (input_key, *label_keys)}

    def __len__(self) -> int:
        return len(self._records)

    def take(self, indices: Any) -> dict[str, Any]:
        """The batch of the examples at `indices`, an integer array `[B]`."""
        rows = [int(row) for row in np.asarray(indices)]
        if rows and not 0 <= min(rows) <= max(rows) < len(self):
            raise IndexError(
                f"indices {min(rows)} to {max(rows)} of a split of {len(self)} examples"
            )
        arrays = {key: _stacked(key, v) for key, v in self.decode(rows).items()}
        return self._batch(arrays)

    def read_all(self) -> dict[str, Any]:
        """All examples as one batch."""
        arrays: dict[str, np.ndarray] = {}
        for start in range(0, len(self), CHUNK):
            rows = range(start, min(start + CHUNK, len(self)))
            for key, values in self.decode(rows).items():
                part = _stacked(key, values)
                if key not in arrays:
                    arrays[key] = np.empty((len(self), *part.shape[1:]), part.dtype)
                if part.shape[1:] != arrays[key].shape[1:]:
                    raise _ragged(key, {part.shape[1:], arrays[key].shape[1:]})
                arrays[key][start : start + len(part)] = part
        return self._batch(arrays)

    def _batch(self, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
        labels = {key: arrays[key] for key in self.label_keys}
        return {"inputs": arrays[self.input_key], "labels": labels}

    def decode(self, rows: Sequence[int]) -> dict[str, list[Any]]:
        """The values of each feature at `rows`, not yet stacked; texts as `str`."""
        try:
            records = self._records.data_source.__getitems__(list(rows))
            if None in self._readers.values():
                return self._decode_by_tfds(records)
            return self._decode_fast(records)
        except Exception as error:
            raise ValueError(
                f"cannot read split {self.split!r} in {self.directory}: "
                f"{type(error).__name__}: {error}. If the files are damaged, remove "
                "that directory and prepare the set again."
            ) from error

    def _decode_fast(self, records: Sequence[bytes]) -> dict[str, list[Any]]:
        from tensorflow_datasets.proto import tf_example_pb2

        parse = tf_example_pb2.Example.FromString
        protos = [parse(record).features.feature for record in records]
        return {
            key: [reader(proto[key]) for proto in protos]
            for key, reader in self._readers.items()
            if reader is not None
        }

    def _decode_by_tfds(self, records: Sequence[bytes]) -> dict[str, list[Any]]:
        decoded: dict[str, list[Any]] = {key: [] for key in self._readers}
        for record in records:
            example = self._features.deserialize_example_np(record)
            for key in decoded:
                value = example
                for part in key.split("/"):
                    value = value[part]
                decoded[key].append(np.asarray(value))
        return decoded


def flatten(features: Any, prefix: str = "") -> dict[str, Any]:
    """The features of a set by name, nested ones under `"group/name"`."""
    import tensorflow_datasets

    flat: dict[str, Any] = {}
    # TFDS reads them from a protobuf map, in another order in every process.
    for name, feature in sorted(features.items()):
        if isinstance(feature, tensorflow_datasets.features.FeaturesDict):
            flat |= flatten(feature, f"{prefix}{name}/")
        else:
            flat[prefix + name] = feature
    return flat


def _reader(feature: Any) -> Callable[[Any], Any] | None:
    """A function from a feature's proto to its value; None: leave it to TFDS."""
    from tensorflow_datasets import features

    shape, dtype = feature.shape, feature.np_dtype
    if isinstance(feature, features.Image):
        mode = {1: "L", 3: "RGB", 4: "RGBA"}.get(shape[-1])
        return _image_reader(mode) if mode and dtype == np.uint8 else None
    if type(feature) is features.Text:
        return lambda proto: proto.bytes_list.value[0].decode()
    if type(feature) is features.Sequence:
        return _sequence_reader(feature.feature)
    if type(feature) not in (features.ClassLabel, features.Scalar, features.Tensor):
        return None
    dtype = np.dtype(dtype)
    stored = feature.get_serialized_info().np_dtype
    if stored != dtype or dtype.kind not in "biuf" or None in shape:
        return None  # stored as bytes, as strings, or with a free axis
    field = "float_list" if dtype.kind == "f" else "int64_list"

    if shape == ():
        return lambda proto: dtype.type(getattr(proto, field).value[0])

    def read(proto: Any) -> np.ndarray:
        return np.array(getattr(proto, field).value, dtype).reshape(shape)

    return read


def _sequence_reader(entry: Any) -> Callable[[Any], Any] | None:
    """The same for a sequence of texts or of single numbers."""
    from tensorflow_datasets import features

    if type(entry) is features.Text:
        return lambda proto: [value.decode() for value in proto.bytes_list.value]
    single = type(entry) in (features.ClassLabel, features.Scalar)
    dtype = np.dtype(entry.np_dtype) if single else np.dtype(object)
    if dtype.kind not in "biuf":
        return None
    field = "float_list" if dtype.kind == "f" else "int64_list"
    return lambda proto: np.array(getattr(proto, field).value, dtype)


def _image_reader(mode: str) -> Callable[[Any], np.ndarray]:
    import PIL.Image

    def read(proto: Any) -> np.ndarray:
        with PIL.Image.open(io.BytesIO(proto.bytes_list.value[0])) as image:
            # Grey images in a colour set, palettes, alpha channels.
            same = image if image.mode == mode else image.convert(mode)
            pixels = np.asarray(same, dtype=np.uint8)
        return pixels[..., None] if mode == "L" else pixels

    return read


def _stacked(key: str, values: list[Any]) -> np.ndarray:
    shapes = {np.shape(value) for value in values}
    if len(shapes) > 1:
        raise _ragged(key, shapes)
    return np.stack(values)


def _ragged(key: str, shapes: set[tuple[int, ...]]) -> ValueError:
    first, second = sorted(shapes)[:2]
    return ValueError(
        f"feature {key!r} has examples of different shapes ({first}, {second}), which "
        "do not fit in one array. Resize them when the set is prepared."
    )
