"""A chain: click, and then conversion.

Commands:

    mtl-jax train configs/click_conversion.py

Not measured yet; `python benchmarks/results.py --programs click_conversion` does it.
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
        name="click_conversion",
        data=DataConfig(name="click_conversion"),
        tasks=(
            TaskConfig("click", "binary"),
            TaskConfig("conversion", "binary"),
            TaskConfig("conversion_if_clicked", "binary"),
        ),
        model=ModelConfig(trunk="tabular_embedding", trunk_args={"features": (64, 32)}),
        method=MethodConfig("equal"),
        optimizer=OptimizerConfig("adam", 1e-3, schedule="cosine"),
        train=TrainConfig(epochs=10, batch_size=256),
    )
