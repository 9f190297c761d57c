"""138 synthetic tasks on one trunk.

Commands:

    mtl-jax train configs/many_tasks.py

Measured on one core of an AMD EPYC: 5 s. Test split, last epoch, mean ± sample standard
deviation over seeds 0, 1, 2, beside each task alone (the same network, as many steps);
docs/results.md has other methods:

| | joint | alone |
|---|---|---|
| mean of 12 tasks: rmse | 0.453 ± 0.002 | 0.561 ± 0.003 |

Alone are measured 12 of the 138, with half of the labels missing: joint training has
the labels of all tasks to learn the common directions. A step for 138 tasks compiles in
1.2 times the time of one for 2 and needs 1.1 times the memory (benchmarks/README.md).
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
        name="many_tasks",
        data=DataConfig(name="many_tasks", args={"tasks": 138}),
        tasks=tuple(TaskConfig(f"task_{t}", "regression") for t in range(138)),
        model=ModelConfig(trunk="mlp", trunk_args={"features": (128, 64)}),
        method=MethodConfig("equal"),
        optimizer=OptimizerConfig("adam", 2e-3, schedule="cosine"),
        train=TrainConfig(epochs=20, batch_size=64),
    )
