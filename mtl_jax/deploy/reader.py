"""Reads an exported predict. It needs jax and numpy, and nothing of mtl_jax.

(`jax.export` itself reads programs with flatbuffers: `pip install jax flatbuffers`.)

Every exported file holds a copy of this one, so that a device needs nothing else:

    import sys
    sys.path.insert(0, "digits.zip")
    import mtl_exported
    predict = mtl_exported.load("digits.zip")
    answers = predict(inputs)  # {"digit/outputs": …, "digit/prediction": …}
"""

import io
import json
import os
import zipfile
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax import export

PROGRAM, ABOUT, WEIGHTS, FORMAT = "predict.stablehlo", "model.json", "weights/", 1


class Predict:
    """A trained multi-task predict.

    Attributes:
        about: the tasks with their losses, kinds, labels and units, the inputs, the
            weights and where the program runs; as `model.json` has them.
    """

    def __init__(self, about: dict[str, Any], program: Any, weights: dict[str, Any]):
        self.about = about
        self._weights = jax.device_put(weights)
        self._call = jax.jit(program.call)

    def __call__(self, inputs: Any) -> dict[str, np.ndarray]:
        """What the model says of inputs.

        Args:
            inputs: `[N, ...]`, or several such arrays by name, as `about["inputs"]`
                has them; any N, each of which is compiled once.

        Returns:
            `{"task/outputs": …, "task/prediction": …, "task/probability": …}`, the last
            one for cross-entropies of classes.

        Raises:
            ValueError: inputs of another shape or kind.
        """
        known = self.about["inputs"]
        if isinstance(known.get("shape"), list):
            return self._run(_checked("the inputs", inputs, known))
        names = sorted(inputs) if isinstance(inputs, Mapping) else ["one array"]
        if names != sorted(known):
            raise ValueError(
                f"the inputs are {', '.join(names)}; the model takes the arrays "
                f"{', '.join(sorted(known))}"
            )
        arrays = {n: _checked(n, inputs[n], known[n]) for n in known}
        lengths = {n: len(array) for n, array in arrays.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(
                f"the inputs have different lengths: {lengths}; give each of them the "
                "same N"
            )
        return self._run(arrays)

    def _run(self, inputs: Any) -> dict[str, np.ndarray]:
        found = jax.device_get(self._call(self._weights, inputs))
        return {name: np.asarray(value) for name, value in found.items()}


def load(path: str | os.PathLike[str]) -> Predict:
    """An exported predict, with its weights on the default device.

    Raises:
        FileNotFoundError: no such file.
        ValueError: another file, or one of a newer format.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(f"there is no exported model {os.fspath(path)}")
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{os.fspath(path)} is no exported model: it is not a zip")
    with zipfile.ZipFile(path) as file:
        names = file.namelist()
        if ABOUT not in names or PROGRAM not in names:
            raise ValueError(
                f"{os.fspath(path)} is no exported model: it lacks {ABOUT} or "
                f"{PROGRAM}. Write one with: mtl-jax export WORKDIR --output FILE"
            )
        about = json.loads(file.read(ABOUT))
        if about["format"] != FORMAT:
            raise ValueError(
                f"{os.fspath(path)} has the format {about['format']}; this reader "
                f"knows {FORMAT}. Use the mtl_exported.py in the file itself"
            )
        program = export.deserialize(bytearray(file.read(PROGRAM)))
        weights = {
            name.removeprefix(WEIGHTS).removesuffix(".npy"): np.load(
                io.BytesIO(file.read(name)), allow_pickle=False
            )
            for name in names
            if name.startswith(WEIGHTS)
        }
    return Predict(about, program, weights)


def _checked(what: str, array: Any, known: dict[str, Any]) -> np.ndarray:
    found, dtype = np.asarray(array), np.dtype(known["dtype"])
    same = found.ndim == 1 + len(known["shape"]) and all(
        wanted is None or wanted == size
        for wanted, size in zip(known["shape"], found.shape[1:], strict=False)
    )
    if not same or not len(found):
        wanted = ", ".join(
            ["N", *("any" if n is None else str(n) for n in known["shape"])]
        )
        raise ValueError(
            f"{what} have shape {list(found.shape)}; the model takes [{wanted}], with "
            "N at least 1"
        )
    if found.dtype.kind not in "biuf" or (
        dtype.kind in "iu" and found.dtype.kind == "f"
    ):
        raise ValueError(
            f"{what} are {found.dtype}; the model takes {dtype}, whose scale may be "
            "another. Give the raw numbers in that dtype"
        )
    narrow = found.astype(dtype)
    if dtype.kind in "iu" and not np.array_equal(narrow, found):
        raise ValueError(f"{what} hold numbers that {dtype} has not")
    return narrow
