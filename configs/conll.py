"""Your own file of one word a line: its columns are the tasks.

Commands:

    mtl-jax train configs/conll.py --set data.path=FILE

Not measured yet; `python benchmarks/results.py --programs conll` does it.
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
        name="conll",
        data=DataConfig(
            name="conll",
            path="wnut17",
            args={
                "files": {
                    "train": "wnut17train.conll",
                    "validation": "emerging.dev.conll",
                    "test": "emerging.test.annotated",
                },
                "columns": {"words": 0, "ner": 1},
                "separator": "\t",
                "boundaries": {"segment": "ner"},
                "length": 45,
            },
        ),
        tasks=(
            TaskConfig("ner", "tokens", main=True),
            TaskConfig("segment", "tokens"),
        ),
        model=ModelConfig(
            trunk="bilstm",
            trunk_args={"width": 50, "hidden": 64, "dropout": 0.3},
        ),
        method=MethodConfig("equal"),
        optimizer=OptimizerConfig("adam", 3e-3),
        train=TrainConfig(epochs=12, batch_size=32, log_every=100),
    )
