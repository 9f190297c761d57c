"""Your own file of one word a line: its columns are the tasks.

Commands:

    mtl-jax train configs/conll.py --set data.path=FILE

Measured on one core of an AMD EPYC: 18 s. Test split, last epoch, mean ± sample
standard deviation over seeds 0, 1, 2, beside each task alone (the same network, as many
steps); docs/results.md has other methods:

| | joint | alone |
|---|---|---|
| ner: token_accuracy | 0.917 ± 0.004 | 0.917 ± 0.004 |
| ner: span_f1 | 0.119 ± 0.015 | 0.127 ± 0.022 |
| segment: token_accuracy | 0.929 ± 0.004 | 0.929 ± 0.002 |
| segment: span_f1 | 0.391 ± 0.017 | 0.378 ± 0.024 |

Measured on the emerging entities of WNUT 2017 (`data prepare` is not needed;
`data.path` is the folder of its files). Where an entity is helps to find none of its
type: within the deviations both are as good alone. Without pretrained vectors few of
the new names are found.
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
