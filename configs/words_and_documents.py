"""Tags of words and sentiment of sentences on one embedding and encoder.

Commands:

    mtl-jax data prepare ewt --from DIR
    mtl-jax data prepare uci_sentiment --from DIR
    mtl-jax train configs/words_and_documents.py

Not measured yet; `python benchmarks/results.py --programs words_and_documents` does it.
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
        name="words_and_documents",
        data=DataConfig(name="words_and_documents"),
        tasks=(
            TaskConfig("upos", "tokens"),
            TaskConfig("xpos", "tokens"),
            TaskConfig("deprel", "tokens"),
            TaskConfig("ner", "tokens"),
            TaskConfig("amazon", "binary"),
            TaskConfig("imdb", "binary"),
            TaskConfig("yelp", "binary"),
        ),
        model=ModelConfig(
            trunk="bilstm",
            trunk_args={"width": 50, "hidden": 100, "dropout": 0.3},
        ),
        method=MethodConfig("equal"),
        optimizer=OptimizerConfig("adam", 5e-3),
        train=TrainConfig(epochs=8, batch_size=72, log_every=100),
    )
