"""Your own images with labels at every pixel, such as the arrays of NYUv2.

Command:

    mtl-jax train configs/dense.py --set data.path=DIR

DIR holds `train/image/0.npy`, `train/label/0.npy`, `train/depth/0.npy`,
`train/normal/0.npy`, `1.npy` and so on, and the same under `val`: classes, distances
and normals are tasks as far as they are there. The names can be set, see `dense_arrays`
in docs/data.md. The network is that of `mnist_scenes.py`, wider.
"""

from mtl_jax.config import (
    Config,
    DataConfig,
    MethodConfig,
    ModelConfig,
    OptimizerConfig,
    TrainConfig,
)


def get_config() -> Config:
    return Config(
        name="dense",
        data=DataConfig(name="dense_arrays"),
        model=ModelConfig(
            trunk="dilated_cnn",
            trunk_args={"features": 64, "dilations": (1, 1, 2, 4, 8, 16, 1)},
        ),
        method=MethodConfig("equal"),
        optimizer=OptimizerConfig("adam", 1e-3, schedule="cosine"),
        train=TrainConfig(epochs=40, batch_size=8),
    )
