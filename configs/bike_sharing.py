"""Bike sharing: the casual and the registered users of an hour.

Commands:

    mtl-jax data prepare bike_sharing --from DIR
    mtl-jax train configs/bike_sharing.py

Not measured yet; `python benchmarks/results.py --programs bike_sharing` does it.
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

METRICS = ("poisson_deviance", "count_mae", "count_rmsle")


def get_config() -> Config:
    return Config(
        name="bike_sharing",
        data=DataConfig(
            name="table",
            path="bike_sharing",
            targets=("casual", "registered"),
            args={"group": ["dteday"]},
        ),
        tasks=(
            TaskConfig("casual", "count", metrics=METRICS),
            TaskConfig("registered", "count", metrics=METRICS),
        ),
        model=ModelConfig(
            trunk="tabular_embedding", trunk_args={"features": (128, 64)}
        ),
        method=MethodConfig("equal"),
        optimizer=OptimizerConfig("adam", 2e-3, schedule="cosine"),
        train=TrainConfig(epochs=20, batch_size=128),
    )
