"""Dense prediction: a class, a distance and a normal for every pixel.

Commands:

    mtl-jax data prepare mnist --from DIR
    mtl-jax train configs/mnist_scenes.py

Scenes are composed of real digits; a CNN with growing dilation keeps the resolution.

Not measured yet; `python benchmarks/results.py --programs mnist_scenes` does it.
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
        name="mnist_scenes",
        data=DataConfig(name="mnist_scenes", args={"size": 32, "digits": 2, "train": 4000}),
        tasks=(
            TaskConfig("segment", "segmentation"),
            TaskConfig("distance", "depth"),
            TaskConfig("normals", "normals"),
        ),
        model=ModelConfig(
            trunk="dilated_cnn",
            trunk_args={
                "features": 24,
                "dilations": (1, 1, 2, 4, 8, 1),
                "batch_norm": True,
                "input_scale": 1 / 64,
            },
        ),
        method=MethodConfig("equal"),
        optimizer=OptimizerConfig("adam", 5e-3, schedule="cosine"),
        train=TrainConfig(epochs=6, batch_size=16),
    )
