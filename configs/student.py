"""Pupils: three grades.

Commands:

    mtl-jax data prepare student --from DIR
    mtl-jax train configs/student.py

Not measured yet; `python benchmarks/results.py --programs student` does it.
"""

from mtl_jax.config import (
    Config,
    DataConfig,
    MethodConfig,
    ModelConfig,
    OptimizerConfig,
    TaskConfig,
    TrainConfig,
)

PUPIL = (
    "school",
    "sex",
    "age",
    "address",
    "famsize",
    "Pstatus",
    "Medu",
    "Fedu",
    "Mjob",
    "Fjob",
    "reason",
    "nursery",
    "internet",
)
"""What tells a pupil, in the words of those who published the set."""


def get_config() -> Config:
    return Config(
        name="student",
        data=DataConfig(
            name="table",
            path="student",
            targets=("G1", "G2", "G3"),
            args={"group": PUPIL, "fractions": [0.7, 0.15, 0.15]},
        ),
        tasks=(
            TaskConfig("G1", "regression"),
            TaskConfig("G2", "regression"),
            TaskConfig("G3", "regression"),
        ),
        model=ModelConfig(
            trunk="tabular_embedding",
            trunk_args={"features": (64, 32), "embedding": 2, "dropout": 0.3},
        ),
        method=MethodConfig("equal"),
        optimizer=OptimizerConfig(
            "adamw", 2e-3, {"weight_decay": 0.01}, schedule="cosine"
        ),
        train=TrainConfig(epochs=20, batch_size=64),
    )
