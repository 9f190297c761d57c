"""Sentiment of sentences on products, films and restaurants, each its own task.

Commands:

    mtl-jax data prepare uci_sentiment --from DIR
    mtl-jax train configs/sentiment.py

Measured on one core of an AMD EPYC: 2 s. Test split, last epoch, mean ± sample standard
deviation over seeds 0, 1, 2, beside each task alone (the same network, as many steps);
docs/results.md has other methods:

| | joint | alone |
|---|---|---|
| amazon: accuracy | 0.822 ± 0.006 | 0.812 ± 0.008 |
| imdb: accuracy | 0.787 ± 0.003 | 0.775 ± 0.009 |
| yelp: accuracy | 0.837 ± 0.003 | 0.853 ± 0.008 |
| mean of 3 tasks: accuracy | 0.815 ± 0.003 | 0.813 ± 0.007 |

Two of three gain, yelp loses; vectors of GloVe's format (`data.args.vectors`) give
0.813 in the mean, which is nothing more than random ones, trained along, give here.
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
