"""Few labels: supervised tasks, alone and with tasks that need no labels.

Commands:

    mtl-jax data prepare mnist --from DIR
    python configs/self_supervised.py

"""

import argparse
from collections.abc import Mapping
from pathlib import Path

from mtl_jax import study
from mtl_jax.config import (
    Config,
    DataConfig,
    ModelConfig,
    OptimizerConfig,
    TaskConfig,
    TrainConfig,
)

SUPERVISED = {
    "digit": TaskConfig("digit", "classification", main=True),
    "odd": TaskConfig("odd", "binary", main=True),
}
AUXILIARY = (
    TaskConfig("autoencoding", "autoencoding", weight=10.0),
    TaskConfig("denoising", "denoising", args={"level": 0.5}, weight=10.0),
    TaskConfig("masked", "masked", args={"patch": 4, "share": 0.5}, weight=10.0),
    TaskConfig("rotation", "rotation"),
    TaskConfig(
        "contrastive",
        "contrastive",
        args={
            "temperature": 0.5,
            "augment": [
                {"name": "crop", "least": 0.6},
                {"name": "shift", "pixels": 3},
                {"name": "noise", "deviation": 25.0},
            ],
        },
    ),
)
LABELLED = 100


def settings(name: str, *tasks: TaskConfig, seed: int = 0) -> Config:
    """Of 5,000 images, 100 have labels; half of every batch does."""
    own = [task.name for task in tasks if task.name in SUPERVISED]
    return Config(
        name=name.replace(" ", "_"),
        data=DataConfig(
            name="few_digits",
            args={"validation": 1_000},
            train_examples=5_000,
            labelled=dict.fromkeys(own, LABELLED),
            labelled_half=True,
        ),
        tasks=tasks,
        model=ModelConfig(
            trunk="cnn",
            trunk_args={"features": (16, 32), "dense": (64,), "input_scale": 1 / 255},
        ),
        optimizer=OptimizerConfig("adam", 1e-3),
        train=TrainConfig(epochs=8, batch_size=64, log_every=200),
        seed=seed,
    )


def get_config() -> Config:
    """Both supervised tasks, and which way up an image is."""
    rotation = next(task for task in AUXILIARY if task.name == "rotation")
    return settings("self_supervised", *SUPERVISED.values(), rotation)


def runs() -> dict[str, study.Make]:
    """Each task alone, both, and both with each of the others."""
    both = tuple(SUPERVISED.values())
    sets = {f"{name} alone": (task,) for name, task in SUPERVISED.items()}
    sets["both"] = both
    sets |= {f"with {task.name}": (*both, task) for task in AUXILIARY}

    def make(name: str, tasks: tuple[TaskConfig, ...]) -> study.Make:
        def of(seed: int, _: Mapping[str, Path]) -> Config:
            return settings(name, *tasks, seed=seed)

        return of

    return {name: make(name, tasks) for name, tasks in sets.items()}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--workdir", default="runs/self_supervised")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--runs", nargs="+", default=list(runs()))
    asked = parser.parse_args(arguments)
    chosen = {name: make for name, make in runs().items() if name in asked.runs}
    rows = study.study(chosen, asked.workdir, asked.seeds)
    print(study.table(rows, ("digit/accuracy", "odd/accuracy")))


if __name__ == "__main__":
    main()
