"""Prepared sets with the features of ours and made-up rows, for tests."""

import dataclasses
import io

import numpy as np

from mtl_jax import data
from mtl_jax.data import registry, spec

ROWS = {"train": 840, "test": 120}
WORDS = ("ash", "birch", "cedar")


def prepare(name, root):
    """Prepare the set `name` under `root`, with made-up rows."""
    whole = registry.DATASETS[name]
    random = np.random.default_rng(len(name))
    columns = {
        part: {
            key: values(name, key, feature, ROWS[part], random)
            for key, feature in whole.features.items()
        }
        for part in whole.splits
    }
    registry.DATASETS[name] = dataclasses.replace(
        whole,
        read=lambda _: {part: spec.examples(made) for part, made in columns.items()},
        files=(),
    )
    try:
        data.prepare(name, data_dir=root)
    finally:
        registry.DATASETS[name] = whole
    return columns


def values(name, key, feature, count, random):
    """A column of made-up values."""
    for label, task in registry.get(name).tasks.items():
        if task.get("positive") and task.get("column", label) == key:
            return random.choice(["other", task["positive"]], count).tolist()
    if feature.get("encoding") == "png":
        return [png(random) for _ in range(count)]
    if "classes" in feature:
        # One after the other, so that every alphabet has every drawer.
        return [feature["classes"][n % len(feature["classes"])] for n in range(count)]
    if feature["dtype"] == "string":
        return random.choice(WORDS, count).tolist()
    if feature["dtype"] == "float32":
        return random.normal(size=count).astype(np.float32).tolist()
    if feature["shape"]:
        low = -1 if key == "labels" else 0
        shape = (count, *feature["shape"])
        return list(random.integers(low, 2, shape).astype(feature["dtype"]))
    if key == "subject":
        return [1 + n % 42 for n in range(count)]
    if key == "drawer":
        return [1 + n // 8 % 20 for n in range(count)]
    return random.integers(0, 9, count).tolist()


def png(random):
    """A small drawing as the bytes of a file."""
    import PIL.Image

    file = io.BytesIO()
    ink = random.uniform(size=(105, 105)) < 0.1
    PIL.Image.fromarray(np.where(ink, 0, 255).astype(np.uint8)).save(file, "PNG")
    return file.getvalue()
