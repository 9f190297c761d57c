"""mm"""

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
        name="mmoe_synthetic",
        data=DataConfig(name="mmoe_synthetic", args={"correlation": 0.5}),
        tasks=(
            TaskConfig("first", "regression"),
            TaskConfig("second", "regression"),
        ),
        model=ModelConfig(
            trunk="mlp", trunk_args={"features": (16,)}, head_features=(8,)
        ),
        method=MethodConfig("equal"),
        optimizer=OptimizerConfig("adam", 1e-3, schedule="cosine"),
        train=TrainConfig(epochs=40, batch_size=128),
    )
