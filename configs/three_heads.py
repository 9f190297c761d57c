"""The smallest tutorial: three heads of ten classes on one small network.

Commands:

    mtl-jax data prepare mnist --from DIR
    mtl-jax train configs/three_heads.py

100 features (principal components of real digits) through layers of 64 and 32; the
losses are summed."""

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
        name="three_heads",
        data=DataConfig(name="mnist_features", args={"num_features": 100}),
        tasks=(
            TaskConfig("digit", "classification"),
            TaskConfig("mass", "classification"),
            TaskConfig("slant", "classification"),
        ),
        model=ModelConfig(trunk="mlp", trunk_args={"features": (64, 32)}),
        method=MethodConfig("equal"),
        optimizer=OptimizerConfig("adam", 1e-3),
        train=TrainConfig(epochs=10, batch_size=128, best="mean_loss"),
    )
