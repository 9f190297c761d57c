"""Parkinson: each of the 42 subjects is a task.

Commands:

    mtl-jax data prepare parkinsons --from DIR
    mtl-jax train configs/parkinsons_subjects.py

Not measured yet; `python benchmarks/results.py --programs parkinsons_subjects` does it.
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
