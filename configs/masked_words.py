"""Few tagged sentences: two tags of each word, alone and beside masked words.

Commands:

    mtl-jax data prepare ewt --from DIR
    python configs/masked_words.py

"""

import argparse
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

TAGS = ("upos", "deprel")
LABELLED, SENTENCES = 200, 3_000
MASKED = TaskConfig("word", "masked_tokens", num_outputs=1_000)
KEYS = tuple(f"{tag}/token_accuracy" for tag in TAGS)


def settings(
    name: str, tags: tuple[str, ...], seed: int, *others: TaskConfig
) -> Config:
    """Of 3,000 sentences, 200 have tags; half of every batch does."""
    return Config(
        name=name.replace(" ", "_"),
        data=DataConfig(
            name="ewt_tags",
            args={"targets": list(tags)},
            train_examples=SENTENCES,
            labelled=dict.fromkeys(tags, LABELLED),
            labelled_half=True,
        ),
        tasks=(*(TaskConfig(tag, "tokens", main=True) for tag in tags), *others),
        model=ModelConfig(
            trunk="bilstm", trunk_args={"width": 50, "hidden": 64, "dropout": 0.3}
        ),
        optimizer=OptimizerConfig("adam", 5e-3),
        train=TrainConfig(epochs=3, batch_size=64, log_every=100),
        seed=seed,
    )


def get_config() -> Config:
    return settings("masked_words", TAGS, 0, MASKED)


def upos(seed: int, _: Mapping[str, Path]) -> Config:
    return settings("upos alone", TAGS[:1], seed)


def deprel(seed: int, _: Mapping[str, Path]) -> Config:
    return settings("deprel alone", TAGS[1:], seed)


def both(seed: int, _: Mapping[str, Path]) -> Config:
    return settings("both", TAGS, seed)


def masked(seed: int, _: Mapping[str, Path]) -> Config:
    return settings("with masked words", TAGS, seed, MASKED)


RUNS = {
    "upos alone": upos,
    "deprel alone": deprel,
    "both": both,
    "with masked words": masked,
}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--workdir", default="runs/masked_words")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    asked = parser.parse_args(arguments)
    print(study.table(study.study(RUNS, asked.workdir, asked.seeds), KEYS))


if __name__ == "__main__":
    main()
