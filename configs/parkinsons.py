"""Parkinson: motor and total UPDRS from the voice, of subjects not seen before.

Commands:

    mtl-jax data prepare parkinsons --from DIR
    mtl-jax train configs/parkinsons.py

Not measured yet; `python benchmarks/results.py --programs parkinsons` does it.
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


def get_config() -> Config:
    return Config(
        name="parkinsons",
        data=DataConfig(
            name="table",
            path="parkinsons",
            targets=("motor_UPDRS", "total_UPDRS"),
            args={"group": ["subject"], "fractions": [0.7, 0.15, 0.15]},
        ),
        tasks=(
            TaskConfig("motor_UPDRS", "regression"),
            TaskConfig("total_UPDRS", "regression"),
        ),
        model=ModelConfig(
            trunk="tabular_embedding", trunk_args={"features": (64, 32), "dropout": 0.5}
        ),
        method=MethodConfig("equal"),
        optimizer=OptimizerConfig(
            "adamw", 1e-3, {"weight_decay": 0.01}, schedule="cosine"
        ),
        train=TrainConfig(epochs=5, batch_size=64),
    )
