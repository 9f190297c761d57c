"""Alternating training, then joint: three tasks on the same digits.

Commands:

    mtl-jax data prepare mnist --from DIR
    mtl-jax train configs/alternating.py

Not measured yet; the other rows are the same command with `--method` and `--set`.
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
        name="alternating",
        data=DataConfig(name="mnist_features", args={"num_features": 100}),
        tasks=(
            TaskConfig("digit", "classification"),
            TaskConfig("mass", "classification"),
            TaskConfig("slant", "classification"),
        ),
        model=ModelConfig(trunk="mlp", trunk_args={"features": (64, 32)}),
        method=MethodConfig(
            "alternate", wrap=({"name": "switch", "then": "equal", "after": 3},)
        ),
        optimizer=OptimizerConfig("adam", 2e-3),
        train=TrainConfig(epochs=6, batch_size=256, best="mean_loss"),
    )
