"""Omniglot: the characters of eight alphabets, each with its own drawings.

Commands:

    mtl-jax data prepare omniglot_small --from DIR
    mtl-jax train configs/omniglot.py

Measured on one core of an AMD EPYC: 32 s. Test split, last epoch, mean ± sample
standard deviation over seeds 0, 1, 2, beside each task alone (the same network, as many
steps):

| | joint | alone |
|---|---|---|
| balinese: accuracy | 0.609 ± 0.028 | 0.620 ± 0.034 |
| early_aramaic: accuracy | 0.816 ± 0.031 | 0.808 ± 0.027 |
| greek: accuracy | 0.914 ± 0.031 | 0.907 ± 0.024 |
| katakana: accuracy | 0.778 ± 0.024 | 0.817 ± 0.016 |
| korean: accuracy | 0.807 ± 0.035 | 0.832 ± 0.012 |
| latin: accuracy | 0.872 ± 0.011 | 0.872 ± 0.017 |
| sanskrit: accuracy | 0.601 ± 0.034 | 0.632 ± 0.018 |
| tagalog: accuracy | 0.824 ± 0.017 | 0.824 ± 0.026 |
| mean of 8 tasks: accuracy | 0.777 ± 0.016 | 0.789 ± 0.005 |

By drawer: nobody is in two splits. The nearest neighbour among the pixels of the
training drawings has .22 to .48.
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

CHARACTERS = {
    "balinese": 24,
    "early_aramaic": 22,
    "greek": 24,
    "katakana": 47,
    "korean": 40,
    "latin": 26,
    "sanskrit": 42,
    "tagalog": 17,
}


def get_config() -> Config:
    return Config(
        name="omniglot",
        data=DataConfig(name="omniglot"),
        tasks=tuple(
            TaskConfig(name, "classification", num_outputs=count)
            for name, count in CHARACTERS.items()
        ),
        model=ModelConfig(
            trunk="cnn",
            trunk_args={
                "features": (16, 32, 64),
                "dense": (128,),
                "dropout": 0.3,
                "input_scale": 1 / 255,
            },
        ),
        method=MethodConfig("equal"),
        optimizer=OptimizerConfig("adam", 2e-3, schedule="cosine"),
        train=TrainConfig(epochs=20, batch_size=64),
    )
