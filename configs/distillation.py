"""A small student of a multi-task model: alone, and distilled from a large teacher.

Commands:

    mtl-jax data prepare mnist --from DIR
    python configs/distillation.py

MNIST's digit, and whether it is greater than five. The teacher has 536,000 parameters, the
student 12,800. Distilled, its loss of each task has the distance to the teacher's
outputs as a second term, with the labels or in their place.

"""

import argparse
import dataclasses
from collections.abc import Mapping
from pathlib import Path

from mtl_jax import study
from mtl_jax.config import (
    Config,
    DataConfig,
    DistilConfig,
    ModelConfig,
    OptimizerConfig,
    TaskConfig,
    TrainConfig,
)

TEACHER, STUDENT = (512, 256), (16,)
KEYS = ("digit/accuracy", "above_five/accuracy", "digit/loss")


def settings(name: str, features: tuple[int, ...], seed: int) -> Config:
    return Config(
        name=name,
        data=DataConfig(name="mnist", validation_fraction=1 / 6),
        tasks=(
            TaskConfig("digit", "classification", label="label", num_outputs=10),
            TaskConfig("above_five", "binary", label="label", above=5),
        ),
        model=ModelConfig(
            trunk="mlp", trunk_args={"features": features, "input_scale": 1 / 255}
        ),
        optimizer=OptimizerConfig("adam", 1e-3),
        train=TrainConfig(epochs=8, batch_size=64, log_every=400),
        seed=seed,
    )


def teacher(seed: int, _: Mapping[str, Path]) -> Config:
    return settings("teacher", TEACHER, seed)


def alone(seed: int, _: Mapping[str, Path]) -> Config:
    return settings("alone", STUDENT, seed)


def distilled(seed: int, places: Mapping[str, Path]) -> Config:
    how = DistilConfig(str(places["teacher"]), weight=WEIGHT, temperature=TEMPERATURE)
    return dataclasses.replace(settings("distilled", STUDENT, seed), distil=how)


def unlabelled(seed: int, places: Mapping[str, Path]) -> Config:
    """The teacher's outputs are all that it learns from."""
    config = distilled(seed, places)
    how = dataclasses.replace(config.distil, labels=False)
    return dataclasses.replace(config, name="unlabelled", distil=how)


WEIGHT, TEMPERATURE = 1.0, 2.0
RUNS = {
    "teacher": teacher,
    "alone": alone,
    "distilled": distilled,
    "unlabelled": unlabelled,
}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--workdir", default="runs/distillation")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    asked = parser.parse_args(arguments)
    rows = study.study(RUNS, asked.workdir, asked.seeds)
    print(study.table(rows, KEYS))


if __name__ == "__main__":
    main()
