"""Omniglot: the characters of eight alphabets, each with its own drawings.

Commands:

    mtl-jax data prepare omniglot_small --from DIR
    mtl-jax train configs/omniglot.py

Not measured yet; `python benchmarks/results.py --programs omniglot` does it.
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
