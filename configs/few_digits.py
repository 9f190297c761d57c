"""Two hundred digits: augmentation on the device and an ensemble of heads.

Command:

    mtl-jax train configs/few_digits.py

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
        name="few_digits",
        data=DataConfig(
            name="digits",
            train_examples=200,
            augment=({"name": "crop", "least": 0.8},),
        ),
        tasks=(
            TaskConfig("digit", "classification", label="label", num_outputs=10),
            TaskConfig("above_five", "binary"),
        ),
        model=ModelConfig(
            trunk="cnn",
            trunk_args={"features": (16, 32), "dense": (64,), "input_scale": 1 / 16},
            head_features=(32,),
            heads_per_task=5,
        ),
        method=MethodConfig("equal"),
        optimizer=OptimizerConfig("adam", 2e-3, schedule="cosine"),
        train=TrainConfig(epochs=100, batch_size=50, log_every=100),
    )
