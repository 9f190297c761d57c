"""Adding a task to a trained run without forgetting the one it has.

Commands:

    mtl-jax data prepare qmnist --from DIR
    python configs/adding_a_task.py

A run knows QMNIST's digits. Then it is to tell whether a student wrote them, from the
same images without labels of the digits: with the trunk as it is (frozen), with
everything learning from the new labels alone (fine-tuned; the old head has none and
stays), with the old run as the teacher of the old task (without forgetting; Li and
Hoiem 2016), or, as the bound, with the labels of both (joint).

Measured on a core of an AMD EPYC, busy with other work: 115 to 130 s of CPU a seed.
Test split, last epoch, accuracy, mean ± sample standard deviation over seeds 0, 1, 2:

    | run                | digit           | student        |
    | ------------------ | --------------- | -------------- |
    | old                | 96.35 ± 0.68 %  | -              |
    | frozen             | 96.35 ± 0.68 %  | 59.79 ± 1.21 % |
    | fine-tuned         | 64.98 ± 14.63 % | 73.09 ± 0.47 % |
    | without forgetting | 96.42 ± 0.73 %  | 71.67 ± 1.42 % |
    | joint              | 97.25 ± 0.28 %  | 72.06 ± 0.99 % |
"""

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
    PartConfig,
    TaskConfig,
    TrainConfig,
    TransferConfig,
)

DIGIT, STUDENT = TaskConfig("digit", "classification"), TaskConfig("student", "binary")
KEYS = ("digit/accuracy", "student/accuracy")


def settings(name: str, seed: int, tasks: tuple[TaskConfig, ...]) -> Config:
    trunk = {"features": (4, 8), "dense": (32,), "input_scale": 1 / 255}
    return Config(
        name=name,
        data=DataConfig(name="digit_and_writer", args={"validation": 1_000}),
        tasks=tasks,
        model=ModelConfig(trunk="cnn", trunk_args=trunk),
        optimizer=OptimizerConfig("adam", 1e-3),
        train=TrainConfig(epochs=2, batch_size=128, log_every=200),
        seed=seed,
    )


def old(seed: int, _: Mapping[str, Path]) -> Config:
    return settings("old", seed, (DIGIT,))


def joint(seed: int, places: Mapping[str, Path]) -> Config:
    """Both, with the labels of both, from the old run."""
    config = settings("joint", seed, (DIGIT, STUDENT))
    return dataclasses.replace(config, transfer=TransferConfig(str(places["old"])))


def without_forgetting(seed: int, places: Mapping[str, Path]) -> Config:
    teacher = DistilConfig(
        str(places["old"]), tasks=("digit",), temperature=2.0, labels=False
    )
    config = joint(seed, places)
    return dataclasses.replace(config, name="without_forgetting", distil=teacher)


def fine_tuned(seed: int, places: Mapping[str, Path]) -> Config:
    """The old task has neither labels nor a teacher that would count."""
    config = without_forgetting(seed, places)
    weak = dataclasses.replace(config.distil, weight=1e-6)
    still = (PartConfig("heads_digit", 0.0),)
    return dataclasses.replace(
        config,
        name="fine_tuned",
        distil=weak,
        optimizer=dataclasses.replace(config.optimizer, parts=still),
    )


def frozen(seed: int, places: Mapping[str, Path]) -> Config:
    config = fine_tuned(seed, places)
    still = (PartConfig("shared/trunk|heads_digit", 0.0),)
    optimizer = dataclasses.replace(config.optimizer, parts=still)
    return dataclasses.replace(config, name="frozen", optimizer=optimizer)


RUNS = {
    "old": old,
    "frozen": frozen,
    "fine-tuned": fine_tuned,
    "without forgetting": without_forgetting,
    "joint": joint,
}


def main(arguments: list[str] | None = None) -> None:
    asked = study.parser(__doc__, "runs/adding_a_task").parse_args(arguments)
    print(study.table(study.study(RUNS, asked.workdir, asked.seeds), KEYS))


if __name__ == "__main__":
    main()
