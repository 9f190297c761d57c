"""Your own table: every target is a task, every other column an input.

Command:

    mtl-jax train configs/table.py --set data.path=FILE.csv data.targets=A,B

FILE is a CSV or other delimited text (zipped or not), Parquet, or NPZ, or a prepared
set of rows and columns such as `student`. What is a number, a category, a class is
inferred; docs/data.md has what there is to say more, in `data.args`: `group`,
`task_column`, `kinds`, `drop`, `categorical`, `fractions`. Metrics of a regression are
in the units of the file.
"""

from mtl_jax.config import (
    Config,
    DataConfig,
    MethodConfig,
    ModelConfig,
    OptimizerConfig,
    TrainConfig,
)


def get_config() -> Config:
    return Config(
        name="table",
        data=DataConfig(name="table"),
        model=ModelConfig(
            trunk="tabular_embedding",
            trunk_args={"features": (128, 64), "dropout": 0.1},
        ),
        method=MethodConfig("equal"),
        optimizer=OptimizerConfig("adam", 1e-3, schedule="cosine"),
        train=TrainConfig(epochs=30, batch_size=64),
    )
