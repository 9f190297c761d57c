"""Alternating training, then joint: three tasks on the same digits.

Commands:

    mtl-jax data prepare mnist --from DIR
    mtl-jax train configs/alternating.py

Three epochs of one task a step, then three of their sum. Measured on a core of an AMD
EPYC beside other work: 20 s. Test split, accuracy of digit, mass and slant in %, mean ±
sample standard deviation over seeds 0, 1, 2; every row six epochs:

    this                                   93.62 ± 0.38  85.15 ± 0.78  82.76 ± 0.70
    joint: --method equal                  93.98 ± 0.28  85.58 ± 0.47  83.92 ± 0.23
    --set method.wrap=[]                   92.76 ± 0.17  80.12 ± 0.42  78.40 ± 0.49
    --method bandit --set method.wrap=[]   92.29 ± 0.30  78.27 ± 3.69  75.06 ± 1.83
    equal, in a curriculum of [0, 1, 2]    94.59 ± 0.14  85.12 ± 0.77  80.47 ± 0.87
    each alone                             96.41 ± 0.24  87.80 ± 0.45  86.58 ± 0.62
    each alone, trunks averaged            24.77 ± 3.00  20.08 ± 2.81  25.18 ± 3.84
    five epochs joint, one alone           94.69 ± 0.21  86.36 ± 0.46  84.70 ± 0.47
    the same, trunks averaged              93.77 ± 0.27  78.10 ± 1.09  81.79 ± 0.27

On a trunk of 32 features tasks get into each other's way, and a step of one task learns
a third as much as a step of all: alternation pays where it saves computation, with
batches of one task each (`alternating_domains.py`). The bandit gives slant 38 % of the
steps, where it sees the loss fall most, and is no better for it. Trunks are averaged by
`averaged.average_runs` of runs of one seed; an epoch alone after joint ones is `switch`
to `static` weights of one task.
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
        name="alternating",
        data=DataConfig(name="mnist_features", args={"num_features": 100}),
        tasks=(
            TaskConfig("digit", "classification"),
            TaskConfig("mass", "classification"),
            TaskConfig("slant", "classification"),
        ),
        model=ModelConfig(trunk="mlp", trunk_args={"features": (64, 32)}),
        method=MethodConfig(
            "alternate", wrap=({"name": "switch", "then": "equal", "after": 3},)
        ),
        optimizer=OptimizerConfig("adam", 2e-3),
        train=TrainConfig(epochs=6, batch_size=256, best="mean_loss"),
    )
