"""Your own table.

Commands:

    mtl-jax train configs/table.py

Not measured yet; `python benchmarks/results.py --programs table` does it.
"""

from mtl_jax.config import (
    Config,
    DataConfig,
    MethodConfig,
    ModelConfig,
    OptimizerConfig,
    TrainConfig,
)


def get_config() -> Config:
    return Config(
        name="table",
        data=DataConfig(name="table"),
        model=ModelConfig(
            trunk="tabular_embedding",
            trunk_args={"features": (128, 64), "dropout": 0.1},
        ),
        method=MethodConfig("equal"),
        optimizer=OptimizerConfig("adam", 1e-3, schedule="cosine"),
        train=TrainConfig(epochs=30, batch_size=64),
    )
