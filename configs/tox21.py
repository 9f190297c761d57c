"""Tox21: twelve assays of molecules, 17 % of the labels missing.

Commands:

    mtl-jax data prepare tox21 --from DIR
    mtl-jax train configs/tox21.py

Measured on one core of an AMD EPYC: 3 s. Test split, last epoch, mean ± sample standard
deviation over seeds 0, 1, 2, beside each task alone (the same network, as many steps);
docs/results.md has other methods:

| | joint | alone |
|---|---|---|
| mean of 12 tasks: auc | 0.750 ± 0.002 | 0.725 ± 0.001 |

The mean of the ROC-AUC of twelve assays; every single one is better in joint training,
with `--method uw` 0.755. Molecules with one fingerprint are in one split, which makes
it harder than a random split.
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
