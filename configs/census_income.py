"""Census income: income above 50,000 dollars, and never married.

Commands:

    mtl-jax data prepare census_income_kdd --from DIR
    mtl-jax train configs/census_income.py

Not measured yet; `python benchmarks/results.py --programs census_income` does it.
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
        name="census_income",
        data=DataConfig(name="census_income_kdd"),
        tasks=(
            TaskConfig("income", "binary"),
            TaskConfig("never_married", "binary"),
        ),
        model=ModelConfig(
            trunk="tabular_embedding",
            trunk_args={"features": (64, 32), "dropout": 0.1},
            head_features=(16,),
        ),
        method=MethodConfig("equal"),
        optimizer=OptimizerConfig("adam", 1e-3, schedule="cosine"),
        train=TrainConfig(epochs=10, batch_size=256),
    )
