"""The seed program: MNIST, the digit and whether it is greater than five.

mtl-jax data prepare mnist --from DIR
mtl-jax train configs/mnist.py
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
        name="mnist",
        data=DataConfig(name="mnist"),
        tasks=(
            TaskConfig("digit", "classification", label="label", num_outputs=10),
            TaskConfig("above_five", "binary", label="label", above=5),
        ),
        model=ModelConfig(
            trunk="mlp",
            trunk_args={"features": (512, 256), "input_scale": 1 / 255},
        ),
        method=MethodConfig("static", {"weights": [1.0, 1.0]}),
        optimizer=OptimizerConfig("adam", 1e-3),
        train=TrainConfig(epochs=10, batch_size=64, log_every=100),
    )
