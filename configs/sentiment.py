"""Sentiment of sentences on products, films and restaurants, each its own task.

Commands:

    mtl-jax data prepare uci_sentiment --from DIR
    mtl-jax train configs/sentiment.py

Not measured yet; `python benchmarks/results.py --programs sentiment` does it.
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
        name="sentiment",
        data=DataConfig(name="sentiment"),
        tasks=(
            TaskConfig("amazon", "binary"),
            TaskConfig("imdb", "binary"),
            TaskConfig("yelp", "binary"),
        ),
        model=ModelConfig(
            trunk="bag_of_embeddings",
            trunk_args={"width": 50, "dropout": 0.3},
        ),
        method=MethodConfig("equal"),
        optimizer=OptimizerConfig("adam", 3e-3),
        train=TrainConfig(epochs=12, batch_size=48, log_every=100),
    )
