"""Income above 50,000 dollars, of six people in a hundred: balanced class weights.

Commands:

    mtl-jax data prepare census_income_kdd --from DIR
    mtl-jax train configs/census_imbalance.py

Not measured yet.
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

METRICS = ("accuracy", "auc", "f1")


def get_config() -> Config:
    return Config(
        name="census_imbalance",
        data=DataConfig(name="census_income_kdd"),
        tasks=(
            TaskConfig(
                "income",
                "binary",
                loss_args={"class_weights": "balanced"},
                metrics=METRICS,
            ),
            TaskConfig("never_married", "binary", metrics=METRICS),
        ),
        model=ModelConfig(
            trunk="tabular_embedding",
            trunk_args={"features": (64, 32), "dropout": 0.1},
            head_features=(16,),
        ),
        method=MethodConfig("equal"),
        optimizer=OptimizerConfig("adam", 2e-3, schedule="cosine"),
        train=TrainConfig(epochs=2, batch_size=1024),
    )
