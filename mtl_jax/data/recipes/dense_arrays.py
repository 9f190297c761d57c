"""Your own images with labels at every pixel, in the layout of NYUv2's arrays."""

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from mtl_jax.data import source
from mtl_jax.errors import unknown_name

KINDS = ("segmentation", "depth", "normals")
TASKS = MappingProxyType({"segment": "label", "distance": "depth", "normals": "normal"})
OF_TASK = MappingProxyType(
    {"segment": "segmentation", "distance": "depth", "normals": "normals"}
)
SPLITS = MappingProxyType({"train": "train", "test": "val"})


def dense_arrays(
    *,
    path: str | None = None,
    image: str = "image",
    tasks: Mapping[str, str] = TASKS,
    kinds: Mapping[str, str] = OF_TASK,
    splits: Mapping[str, str] = SPLITS,
    num_classes: int | None = None,
) -> source.Dataset:
    """Images and their dense labels, by path.

    The layout is that in which NYUv2 and Cityscapes are handed round for multi-task
    learning: a folder a split, in it a folder a quantity, in it `0.npy`, `1.npy`, … for
    the examples, `[H, W]` or `[H, W, C]`. A quantity may also be one file of all
    examples, `depth.npy` `[N, H, W]`.

        train/image/0.npy  train/label/0.npy  train/depth/0.npy  train/normal/0.npy
        val/image/0.npy    …

    A segmentation has the classes 0 to K - 1, and -1 where there is none; distances
    are 0, and normals zero, where nothing was measured. Everything is read into memory
    as it is: NYUv2 at 288×384 takes 5 GB.

    Args:
        path: the folder of the splits.
        image: the quantity that is the input.
        tasks: of each task its quantity; those whose folder is absent are left out.
        kinds: of each task `segmentation`, `depth` or `normals`.
        splits: of "train", and "validation" and "test" as far as they are there, the
            folder.
        num_classes: K; default: the highest class of train, and one.

    Returns:
        Inputs `[N, H, W, C]`; labels int32 `[N, H, W]`, float32 `[N, H, W]` or float32
        `[N, H, W, 3]`.

    Raises:
        FileNotFoundError: no such folder, or a quantity that a split lacks.
        ValueError: no path, another kind, quantities of unequal length, or arrays of a
            shape or with classes that do not fit.
    """
    for task, kind in kinds.items():
        if kind not in KINDS:
            raise unknown_name(f"kind of task {task!r}", kind, KINDS)
    if path is None:
        raise ValueError(
            "dense_arrays needs a folder: say which, as in --set data.path=DIR"
        )
    root = Path(path)
    first = root / splits.get("train", "train")
    if not first.is_dir():
        raise FileNotFoundError(
            f"dense_arrays reads {first}, a folder of {image}/0.npy and so on for the "
            f"split train; it is not there. Set data.path to the folder above it"
        )
    named = {t: q for t, q in tasks.items() if _present(first, q)}
    if not named:
        raise FileNotFoundError(
            f"{first} has none of the quantities {sorted(tasks.values())}; found "
            f"{sorted(p.name for p in first.iterdir())}. Say in `tasks` which folder "
            "belongs to which task"
        )
    made = {
        split: _split(root / folder, image, named, kinds)
        for split, folder in splits.items()
        if split == "train" or (root / folder).is_dir()
    }
    facts: dict[str, dict[str, Any]] = {t: {"kind": kinds[t]} for t in named}
    for task in named:
        if kinds[task] == "segmentation":
            highest = int(made["train"].labels[task].max())
            count = num_classes or highest + 1
            facts[task]["num_classes"] = count
            _check_classes(task, made, count)
    return source.Dataset(
        root.name,
        made["train"],
        made.get("validation"),
        made.get("test"),
        {"tasks": facts},
    )


def _present(folder: Path, quantity: str) -> bool:
    return (folder / quantity).is_dir() or (folder / f"{quantity}.npy").is_file()


def _split(
    folder: Path, image: str, tasks: Mapping[str, str], kinds: Mapping[str, str]
) -> source.ArraySource:
    inputs = _read(folder, image)
    if inputs.ndim == 3:
        inputs = inputs[..., None]
    labels = {}
    for task, quantity in tasks.items():
        found = _read(folder, quantity)
        if kinds[task] != "normals" and found.ndim == 4 and found.shape[-1] == 1:
            found = found[..., 0]
        wanted = (*inputs.shape[:3], *((3,) if kinds[task] == "normals" else ()))
        if found.shape != wanted:
            raise ValueError(
                f"{folder / quantity}: arrays {found.shape} for task {task!r} of kind "
                f"{kinds[task]!r}; the images {inputs.shape} need {wanted}"
            )
        whole = kinds[task] == "segmentation"
        labels[task] = found.astype(np.int32 if whole else np.float32, copy=False)
    return source.ArraySource(inputs, labels)


def _read(folder: Path, quantity: str) -> np.ndarray:
    """All examples of a quantity, `[N, ...]`."""
    whole = folder / f"{quantity}.npy"
    if whole.is_file():
        return np.load(whole, mmap_mode="r")
    files = {
        int(found[1]): file
        for file in (folder / quantity).glob("*.npy")
        if (found := re.fullmatch(r"(\d+)", file.stem))
    }
    missing = sorted(set(range(len(files))) - set(files))
    if not files or missing:
        lacks = f"{missing[0]}.npy" if missing else "0.npy"
        raise FileNotFoundError(
            f"{folder / quantity} lacks {lacks}; it has to hold 0.npy, 1.npy, … for "
            f"all examples, or {whole} all of them"
        )
    start = np.load(files[0])
    stacked = np.empty((len(files), *start.shape), start.dtype)
    for place, file in files.items():
        one = np.load(file)
        if one.shape != start.shape:
            raise ValueError(
                f"{file} has the shape {one.shape}, {files[0]} {start.shape}. Resize "
                "them alike: a batch has one shape"
            )
        stacked[place] = one
    return stacked


def _check_classes(
    task: str, made: Mapping[str, source.ArraySource], count: int
) -> None:
    for split, part in made.items():
        low, high = part.labels[task].min(), part.labels[task].max()
        if low < -1 or high >= count:
            raise ValueError(
                f"classes {low} to {high} of task {task!r} in {split}; there are "
                f"{count}, from 0, and -1 for none. Give num_classes"
            )
