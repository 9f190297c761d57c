"""Sentiment of one kind of reviews, learned from the labels of another (DANN)."""

import argparse
import dataclasses
import itertools
from collections.abc import Mapping
from pathlib import Path

from mtl_jax import study
from mtl_jax.config import (
    Config,
    DataConfig,
    ModelConfig,
    OptimizerConfig,
    TaskConfig,
    TrainConfig,
)

SITES = ("amazon", "imdb", "yelp")
EPOCHS, STEPS_PER_EPOCH = 20, 21
SENTIMENT = TaskConfig("sentiment", "binary", main=True)
DOMAIN = TaskConfig("domain", "binary")
KEYS = ("sentiment/accuracy", "domain/accuracy")


def get_config() -> Config:
    return Config(
        name="domain_adaptation",
        data=DataConfig(
            name="sentiment_adaptation", args={"source": "amazon", "target": "yelp"}
        ),
        tasks=(SENTIMENT, DOMAIN),
        model=ModelConfig(
            trunk="bag_of_embeddings",
            trunk_args={"width": 50, "features": (32,), "dropout": 0.3},
            architecture="domain_adversarial",
            architecture_args={"over": EPOCHS * STEPS_PER_EPOCH},
        ),
        optimizer=OptimizerConfig("adam", 3e-3),
        train=TrainConfig(epochs=EPOCHS, batch_size=48, log_every=100),
    )


def pair(seed: int, source: str, target: str) -> Config:
    """Domain-adversarial, between two sites, which each seed divides anew."""
    config = get_config()
    args = {"source": source, "target": target, "seed": seed}
    data = dataclasses.replace(config.data, args=args)
    return dataclasses.replace(config, data=data, seed=seed)


def alone(seed: int, source: str, target: str, labelled: str) -> Config:
    """The sentiment alone, with the labels of one side."""
    config = pair(seed, source, target)
    args = {**config.data.args, "labelled": labelled}
    plain = dataclasses.replace(
        config.model, architecture="hard_sharing", architecture_args={}
    )
    return dataclasses.replace(
        config,
        data=dataclasses.replace(config.data, args=args),
        model=plain,
        tasks=(SENTIMENT,),
    )


def runs(source: str, target: str) -> dict[str, study.Make]:
    """What is compared for one pair of sites."""

    def source_only(seed: int, _: Mapping[str, Path]) -> Config:
        return alone(seed, source, target, "source")

    def adversarial(seed: int, _: Mapping[str, Path]) -> Config:
        return pair(seed, source, target)

    def weak(seed: int, _: Mapping[str, Path]) -> Config:
        config = pair(seed, source, target)
        args = {**config.model.architecture_args, "strength": 0.3}
        model = dataclasses.replace(config.model, architecture_args=args)
        return dataclasses.replace(config, model=model)

    def target_labels(seed: int, _: Mapping[str, Path]) -> Config:
        return alone(seed, source, target, "target")

    return {
        "source only": source_only,
        "adversarial": adversarial,
        "weak": weak,
        "target labels": target_labels,
    }


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--workdir", default="runs/domain_adaptation")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    asked = parser.parse_args(arguments)
    for source, target in itertools.permutations(SITES, 2):
        place = Path(asked.workdir) / f"{source}-{target}"
        print(f"from {source} to {target}", flush=True)
        rows = study.study(runs(source, target), place, asked.seeds)
        print(study.table(rows, KEYS), flush=True)


if __name__ == "__main__":
    main()
