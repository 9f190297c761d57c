"""English Web Treebank: parts of speech, relations and entities of the same words.

Commands:

    mtl-jax data prepare ewt --from DIR
    mtl-jax train configs/ewt.py

Not measured yet; `python benchmarks/results.py --programs ewt` does it.
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
        name="ewt",
        data=DataConfig(name="ewt_tags"),
        tasks=(
            TaskConfig("upos", "tokens"),
            TaskConfig("xpos", "tokens"),
            TaskConfig("deprel", "tokens"),
            TaskConfig("ner", "tokens"),
        ),
        model=ModelConfig(
            trunk="bilstm",
            trunk_args={"width": 50, "hidden": 100, "dropout": 0.3},
        ),
        method=MethodConfig("equal"),
        optimizer=OptimizerConfig("adam", 5e-3),
        train=TrainConfig(epochs=8, batch_size=64, log_every=100),
    )
