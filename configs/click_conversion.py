"""A chain: click, and then conversion.

Commands:

    mtl-jax train configs/click_conversion.py

Measured on one core of an AMD EPYC: 2 s. Test split, last epoch, mean ± sample standard
deviation over seeds 0, 1, 2, beside each task alone (the same network, as many steps);
docs/results.md has other methods:

| | joint | alone |
|---|---|---|
| click: auc | 0.731 ± 0.002 | 0.734 ± 0.002 |
| conversion: auc | 0.807 ± 0.003 | 0.813 ± 0.002 |
| conversion_if_clicked: auc | 0.725 ± 0.004 | 0.671 ± 0.002 |
| mean of 3 tasks: auc | 0.754 ± 0.002 | 0.739 ± 0.001 |

Conversion of what was clicked has few examples of its own, and gains; click and
conversion are a little better alone. With towers in a chain (`model.architecture=esmm`)
conversion has 0.820, more than alone.
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
