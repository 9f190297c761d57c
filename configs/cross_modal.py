"""Tox21 from two descriptions of a molecule, either of which may be missing."""

import argparse
import dataclasses
import statistics
from collections.abc import Mapping
from pathlib import Path

from mtl_jax import study, trained
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
FINGERPRINT = {"trunk": "mlp", "features": (512, 128), "dropout": 0.5}
SMILES = {"trunk": "bag_of_embeddings", "width": 64, "features": (128, 64)}
ALONE = ("NR-AhR", "NR-ER", "SR-ARE", "SR-MMP")
"""Assays that are also trained each for itself."""


def get_config() -> Config:
    return Config(
        name="cross_modal",
        data=DataConfig(name="tox21_smiles"),
        tasks=tuple(TaskConfig(name, "binary") for name in ASSAYS),
        model=ModelConfig(
            trunk="cross_modal",
            trunk_args={
                "trunks": {"fingerprint": FINGERPRINT, "smiles": SMILES},
                "reads": {"smiles": {"tokens": "smiles"}},
                "fusion": "concatenation",
                "width": 128,
                "modality_dropout": 0.3,
            },
        ),
        optimizer=OptimizerConfig("adam", 3e-3, schedule="cosine"),
        train=TrainConfig(epochs=30, batch_size=128, log_every=200),
    )


def changed(seed: int, **arguments: object) -> Config:
    """With other arguments of the trunk."""
    config = get_config()
    args = {**config.model.trunk_args, **arguments}
    model = dataclasses.replace(config.model, trunk_args=args)
    return dataclasses.replace(config, model=model, seed=seed)


def both(seed: int, _: Mapping[str, Path]) -> Config:
    return changed(seed)


def without_dropout(seed: int, _: Mapping[str, Path]) -> Config:
    return changed(seed, modality_dropout=0.0)


def gate(seed: int, _: Mapping[str, Path]) -> Config:
    return changed(seed, fusion="gate")


def fingerprint(seed: int, _: Mapping[str, Path]) -> Config:
    trunks = {"fingerprint": FINGERPRINT}
    return changed(seed, trunks=trunks, reads={}, modality_dropout=0.0)


def fingerprint_short(seed: int, places: Mapping[str, Path]) -> Config:
    """Where the validation split is best: the long run overfits."""
    config = fingerprint(seed, places)
    return dataclasses.replace(
        config,
        optimizer=dataclasses.replace(config.optimizer, learning_rate=2e-3),
        train=dataclasses.replace(config.train, epochs=12),
    )


def smiles(seed: int, _: Mapping[str, Path]) -> Config:
    return changed(seed, trunks={"smiles": SMILES}, modality_dropout=0.0)


def alone(assay: str) -> study.Make:
    """One task, with both modalities."""

    def made(seed: int, _: Mapping[str, Path]) -> Config:
        return dataclasses.replace(changed(seed), tasks=(TaskConfig(assay, "binary"),))

    return made


FUSED = {"both": both, "no dropout": without_dropout, "gate": gate}
RUNS = {
    **FUSED,
    "fingerprint": fingerprint,
    "fingerprint, short": fingerprint_short,
    "smiles": smiles,
    **{f"{assay} alone": alone(assay) for assay in ALONE},
}


def mean(row: Mapping[str, float]) -> float:
    return statistics.fmean(row[f"{assay}/auc"] for assay in ASSAYS)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--workdir", default="runs/cross_modal")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    asked = parser.parse_args(arguments)
    found = study.study(RUNS, asked.workdir, asked.seeds)
    rows = {
        name: [{"both/auc": mean(row)} for row in found[name]]
        for name in (*FUSED, "fingerprint", "fingerprint, short", "smiles")
    }
    for name in FUSED:
        for seed, row in zip(asked.seeds, rows[name], strict=True):
            for other in ("fingerprint", "smiles"):
                scores = trained.evaluate_run(
                    Path(asked.workdir) / f"{name}-{seed}",
                    overrides=[f"data.missing={other}"],
                )
                row[f"no {other}/auc"] = mean(scores)
    print(study.table(rows, ["both/auc", "no smiles/auc", "no fingerprint/auc"]))
    keys = [f"{assay}/auc" for assay in ALONE]
    each = [
        {f"{assay}/auc": found[f"{assay} alone"][i][f"{assay}/auc"] for assay in ALONE}
        for i in range(len(asked.seeds))
    ]
    print(study.table({"both": found["both"], "each alone": each}, keys))


if __name__ == "__main__":
    main()
