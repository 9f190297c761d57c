"""Parkinson: each of the 42 subjects is a task.

Commands:

    mtl-jax data prepare parkinsons --from DIR
    mtl-jax train configs/parkinsons_subjects.py

Measured on one core of an AMD EPYC: 3 s. Test split, last epoch, mean ± sample standard
deviation over seeds 0, 1, 2, beside each task alone (the same network, as many steps);
docs/results.md has other methods:

| | joint | alone |
|---|---|---|
| mean of 42 tasks: rmse | 0.454 ± 0.043 | 0.462 ± 0.046 |

Each subject has its own recordings, some 140; what voices have in common helps little,
and with `--method uw`, which lets quiet subjects weigh more, the mean falls to 0.301.
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
        name="parkinsons_subjects",
        data=DataConfig(
            name="table",
            path="parkinsons",
            targets=("motor_UPDRS",),
            args={"task_column": "subject"},
        ),
        tasks=tuple(
            TaskConfig(f"subject_{number}", "regression") for number in range(1, 43)
        ),
        model=ModelConfig(
            trunk="tabular_embedding", trunk_args={"features": (128, 64)}
        ),
        method=MethodConfig("equal"),
        optimizer=OptimizerConfig("adam", 2e-3, schedule="cosine"),
        train=TrainConfig(epochs=40, batch_size=128),
    )
