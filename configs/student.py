"""Student performance: three grades of a pupil, in mathematics or Portuguese.

Commands:

    mtl-jax data prepare student --from DIR
    mtl-jax train configs/student.py

Grades go from 0 to 20; the inputs are the answers to a questionnaire, without the other
grades. Pupils who are in both courses are in one split. Measured on one core of an AMD
EPYC: 15 s. Test split, last epoch, RMSE in grades, mean ± sample standard deviation
over seeds 0, 1, 2, beside each task alone (the same network, steps and batches):

| | joint | alone | the mean of train | ridge regression | boosted trees |
|---|---|---|---|---|---|
| G1 | 2.54 ± 0.02 | 2.57 ± 0.04 | 3.00 | 2.50 | 2.48 |
| G2 | 2.96 ± 0.10 | 2.99 ± 0.04 | 3.43 | 2.91 | 2.91 |
| G3 | 3.52 ± 0.09 | 3.56 ± 0.09 | 4.04 | 3.50 | 3.09 |

Joint training helps a little in all three, within the deviations.
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

PUPIL = (
    "school",
    "sex",
    "age",
    "address",
    "famsize",
    "Pstatus",
    "Medu",
    "Fedu",
    "Mjob",
    "Fjob",
    "reason",
    "nursery",
    "internet",
)
"""What tells a pupil, in the words of those who published the set."""


def get_config() -> Config:
    return Config(
        name="student",
        data=DataConfig(
            name="table",
            path="student",
            targets=("G1", "G2", "G3"),
            args={"group": PUPIL, "fractions": [0.7, 0.15, 0.15]},
        ),
        tasks=(
            TaskConfig("G1", "regression"),
            TaskConfig("G2", "regression"),
            TaskConfig("G3", "regression"),
        ),
        model=ModelConfig(
            trunk="tabular_embedding",
            trunk_args={"features": (64, 32), "embedding": 2, "dropout": 0.3},
        ),
        method=MethodConfig("equal"),
        optimizer=OptimizerConfig(
            "adamw", 2e-3, {"weight_decay": 0.01}, schedule="cosine"
        ),
        train=TrainConfig(epochs=20, batch_size=64),
    )
