"""MultiMNIST: the digit at the upper left and the one at the lower right.

Commands:

    mtl-jax data prepare mnist --from DIR
    mtl-jax train configs/multi_mnist.py

The smallest benchmark of the field, by the recipe of Sener and Koltun (NeurIPS
2018).

Measured on one core of an AMD EPYC: 44 s. Test split, last epoch, mean ± sample
standard deviation over seeds 0, 1, 2, beside each task alone (the same network, as many
steps); docs/results.md has other methods:

| | joint | alone |
|---|---|---|
| left: accuracy | 0.967 ± 0.003 | 0.971 ± 0.001 |
| right: accuracy | 0.951 ± 0.004 | 0.953 ± 0.000 |

Joint training of this small network loses a little to two networks.
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
