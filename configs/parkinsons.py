"""Parkinson's telemonitoring: two clinical scores of patients that were never heard.

Commands:

    mtl-jax data prepare parkinsons --from DIR
    mtl-jax train configs/parkinsons.py

Voices of 42 patients, divided by patient. Measured on one core of an AMD EPYC: 10 s.
Test split, last epoch, RMSE in points of the score, mean ± sample standard deviation
over seeds 0, 1, 2, beside each task alone (the same network, steps and batches):

| | joint | alone | the mean of train | ridge regression |
|---|---|---|---|---|
| motor_UPDRS | 8.25 ± 0.19 | 8.16 ± 0.19 | 8.37 | 8.31 |
| total_UPDRS | 12.39 ± 0.33 | 12.28 ± 0.37 | 12.74 | 12.44 |

Joint training does not help: the two scores nearly say the same, and of a stranger the
voice says little; each split has its own answer, with six patients in the test. Divided
by row, which puts every patient on both sides, ridge regression has 7.5 and 9.7, and
that says nothing of strangers.
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
        name="parkinsons",
        data=DataConfig(
            name="table",
            path="parkinsons",
            targets=("motor_UPDRS", "total_UPDRS"),
            args={"group": ["subject"], "fractions": [0.7, 0.15, 0.15]},
        ),
        tasks=(
            TaskConfig("motor_UPDRS", "regression"),
            TaskConfig("total_UPDRS", "regression"),
        ),
        model=ModelConfig(
            trunk="tabular_embedding", trunk_args={"features": (64, 32), "dropout": 0.5}
        ),
        method=MethodConfig("equal"),
        optimizer=OptimizerConfig(
            "adamw", 1e-3, {"weight_decay": 0.01}, schedule="cosine"
        ),
        train=TrainConfig(epochs=5, batch_size=64),
    )
