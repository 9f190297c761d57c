"""What `results.py` measures: configs, with other settings and architectures."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from bench_architectures import EVERY

from mtl_jax import config

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
METHODS = ("equal", "uw", "pcgrad")
CHAINS = ("esmm", "aitm")


class Program(NamedTuple):
    """A config, or a variant of it.

    Attributes:
        config: its name.
        settings: `key=value` texts on top of it.
        tasks: those that are kept, of all.
        methods: beside its own.
        variants: by name, further settings for the same data.
        architectures: beside hard sharing, each with as many parameters.
        metrics: those in the table; default: the first of each task, and of dense
            predictions all.
        alone: tasks that are trained alone as well, and are in the table; default: all.
    """

    config: str
    settings: Sequence[str] = ()
    tasks: Sequence[str] = ()
    methods: Sequence[str] = METHODS
    variants: Mapping[str, Sequence[str]] = MappingProxyType({})
    architectures: Sequence[str] = ()
    metrics: Sequence[str] = ()
    alone: Sequence[str] = ()

    def load(self) -> config.Config:
        """The settings."""
        found = config.load(CONFIGS / f"{self.config}.py")
        found = config.override(found, self.settings)
        if not self.tasks:
            return found
        kept = tuple(task for task in found.tasks if task.name in self.tasks)
        return dataclasses.replace(found, tasks=kept)


def _tables() -> dict[str, Program]:
    found = {
        name: Program(name, architectures=(*EVERY, "aitm"))
        for name in ("adult", "census_income")
    }
    found["click_conversion, the chain"] = Program(
        "click_conversion",
        tasks=("click", "conversion"),
        architectures=(*EVERY, *CHAINS),
    )
    for correlation in (0.0, 0.5, 1.0):
        found[f"mmoe_synthetic, correlation {correlation}"] = Program(
            "mmoe_synthetic",
            [f"data.args.correlation={correlation}", "model.trunk_args.features=[112]"],
            methods=(),
            architectures=EVERY,
        )
    return found


@functools.cache
def programs(files: Path | None = None) -> dict[str, Program]:
    """Every program by name: all configs, and variants of some.

    Args:
        files: folder of the original files, for `wnut17` and `glove50_subset`.
    """
    paths = [p for p in sorted(CONFIGS.glob("*.py")) if p.stem not in WITHOUT]
    found = {p.stem: Program(p.stem) for p in paths if "get_config" in p.read_text()}
    found |= {name: Program(name, methods=()) for name in LONG}
    found["words_and_documents"] = Program(
        "words_and_documents", methods=(), alone=("ner", "amazon", "imdb", "yelp")
    )
    # Tasks without labels are there to help: none of them is for itself.
    found["self_supervised"] = Program(
        "self_supervised", methods=("uw",), alone=("digit", "odd")
    )
    found["masked_words"] = Program(
        "masked_words", methods=(), alone=("upos", "deprel")
    )
    found["many_tasks"] = Program("many_tasks", alone=[f"task_{t}" for t in range(12)])
    weights = (0.1, 1.0)
    found["mnist_auxiliary"] = Program(
        "mnist_auxiliary",
        methods=("uw",),
        variants={f"weight {w}": [f"tasks.above_five.weight={w}"] for w in weights},
    )
    for name in SHORT:
        found[name] = Program(name, architectures=EVERY)
    plain = ["data.augment=[]", "model.heads_per_task=1"]
    found["few_digits, plain"] = Program(
        "few_digits", plain, (), (), architectures=EVERY
    )
    text = [name for name in EVERY if name != "sluice"]  # no kernels to keep apart
    if files is not None:
        vectors = sorted(map(str, (files / "glove50_subset").glob("*.txt*")))
        glove = {"GloVe vectors": [f"data.args.vectors={vectors}"]} if vectors else {}
        found["sentiment"] = Program("sentiment", variants=glove, architectures=text)
        path = [f"data.path={files / 'wnut17'}"]
        found["conll"] = Program("conll", path, methods=("uw",))
    found = dict(sorted((found | _tables()).items()))
    return {
        name: program._replace(metrics=METRICS.get(program.config, ()))
        for name, program in found.items()
    }


WITHOUT = ("table", "cross_modal", "domain_adaptation")
"""Configs of data that the caller has, and those that compare for themselves."""
LONG = (
    *("ewt", "words_and_documents", "conll", "omniglot"),
    *("digit_and_writer", "stroke_mass", "mnist_scenes"),
    *("alternating", "alternating_domains", "census_imbalance", "few_digits"),
)
"""Those that are measured with their own method alone."""
SHORT = (
    *("bike_sharing", "digits", "parkinsons", "student", "sentiment"),
    *("three_heads", "tox21"),
)
"""Those that are measured with every architecture."""


_TAGS = ("token_accuracy", "span_f1", "accuracy")
METRICS = {
    **dict.fromkeys(("adult", "census_income", "click_conversion", "tox21"), ("auc",)),
    **dict.fromkeys(("parkinsons", "parkinsons_subjects", "student"), ("rmse",)),
    **dict.fromkeys(("mmoe_synthetic", "many_tasks"), ("rmse",)),
    **dict.fromkeys(("ewt", "words_and_documents", "conll"), _TAGS),
    "bike_sharing": ("count_mae", "count_rmsle"),
    "census_imbalance": ("auc", "f1"),
}
"""What the papers report, or what the classes ask for."""
