"""Bike sharing: how many casual and registered users rent in an hour, two counts.

Commands:

    mtl-jax data prepare bike_sharing --from DIR
    mtl-jax train configs/bike_sharing.py

Days are divided, not hours, so that no hour is told by its neighbours. The loss is
Poisson's. Measured on one core of an AMD EPYC: 20 s. Test split, last epoch, mean ±
sample standard deviation over seeds 0, 1, 2, beside each task alone (the same network,
steps and batches):

| | joint | alone | Poisson regression | boosted trees |
|---|---|---|---|---|
| casual: MAE | 11.02 ± 0.16 | 11.05 ± 0.35 | 13.45 | 10.33 |
| casual: RMSE of log(1 + y) | 0.533 ± 0.003 | 0.530 ± 0.008 | 0.624 | 0.541 |
| registered: MAE | 24.94 ± 0.96 | 25.06 ± 0.74 | 50.51 | 25.25 |
| registered: RMSE of log(1 + y) | 0.358 ± 0.007 | 0.363 ± 0.007 | 0.631 | 0.391 |

Joint training is as good as two networks, no better. Trees and regression are those of
scikit-learn with Poisson's loss on the same split.
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
