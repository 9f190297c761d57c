"""Tox21: twelve assays of molecules, 17 % of the labels missing.

Commands:

    mtl-jax data prepare tox21 --from DIR
    mtl-jax train configs/tox21.py

Not measured yet; `python benchmarks/results.py --programs tox21` does it.
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

ASSAYS = (
    "NR-AR",
    "NR-AR-LBD",
    "NR-AhR",
    "NR-Aromatase",
    "NR-ER",
    "NR-ER-LBD",
    "NR-PPAR-gamma",
    "SR-ARE",
    "SR-ATAD5",
    "SR-HSE",
    "SR-MMP",
    "SR-p53",
)


def get_config() -> Config:
    return Config(
        name="tox21",
        data=DataConfig(name="tox21"),
        tasks=tuple(TaskConfig(name, "binary") for name in ASSAYS),
        model=ModelConfig(
            trunk="mlp", trunk_args={"features": (512, 128), "dropout": 0.5}
        ),
        method=MethodConfig("equal"),
        optimizer=OptimizerConfig("adam", 1e-3, schedule="cosine"),
        train=TrainConfig(epochs=6, batch_size=128),
    )
