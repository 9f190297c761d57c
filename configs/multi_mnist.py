"""MultiMNIST: the digit at the upper left and the one at the lower right.

Commands:

    mtl-jax data prepare mnist --from DIR
    mtl-jax train configs/multi_mnist.py

The smallest benchmark of the field, by the recipe of Sener and Koltun (NeurIPS
2018).

Not measured yet; `python benchmarks/results.py --programs multi_mnist` does it.
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
        name="multi_mnist",
        data=DataConfig(name="multi_mnist"),
        tasks=(
            TaskConfig("left", "classification"),
            TaskConfig("right", "classification"),
        ),
        model=ModelConfig(
            trunk="cnn",
            trunk_args={"features": (10, 20), "dense": (50,), "input_scale": 1 / 255},
            head_features=(50,),
        ),
        method=MethodConfig("equal"),
        optimizer=OptimizerConfig("adam", 1e-3),
        train=TrainConfig(epochs=4, batch_size=128, log_every=100),
    )
