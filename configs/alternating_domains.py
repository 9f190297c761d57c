"""One domain a step: sentiment of three sites, each batch from one of them.

Commands:

    mtl-jax data prepare uci_sentiment --from DIR
    mtl-jax train configs/alternating_domains.py

Not measured yet.
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
        name="alternating_domains",
        data=DataConfig(name="sentiment", args={"policy": "round_robin"}),
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
