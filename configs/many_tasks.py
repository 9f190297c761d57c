"""138 synthetic tasks on one trunk.

Commands:

    mtl-jax train configs/many_tasks.py

Not measured yet; `python benchmarks/results.py --programs many_tasks` does it.
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
