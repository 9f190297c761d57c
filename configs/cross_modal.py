"""Tox21 from two descriptions of a molecule, either of which may be missing."""

import argparse
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mtl_jax.config import (
    Config,
    DataConfig,
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
TRUNKS = {
    "fingerprint": {"trunk": "mlp", "features": (512, 128), "dropout": 0.5},
    "smiles": {"trunk": "transformer", "width": 32, "layers": 2, "heads": 2},
}
READS = {"smiles": {"tokens": "smiles"}}


def get_config() -> Config:
    return Config(
        name="cross_modal",
        data=DataConfig(name="tox21_smiles"),
        tasks=tuple(TaskConfig(name, "binary") for name in ASSAYS),
        model=ModelConfig(
            trunk="cross_modal",
            trunk_args={
                "trunks": TRUNKS,
                "reads": READS,
                "fusion": "gate",
                "width": 128,
                "modality_dropout": 0.3,
            },
        ),
        optimizer=OptimizerConfig("adam", 1e-3, schedule="cosine"),
        train=TrainConfig(epochs=6, batch_size=128),
    )
