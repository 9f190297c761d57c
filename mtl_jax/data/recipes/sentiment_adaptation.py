"""Sentiment of one kind of reviews, learned from the labels of another."""

import os
from collections.abc import Sequence
from typing import Literal

import numpy as np

from mtl_jax.data import source as source_lib
from mtl_jax.data.recipes import corpora, labelled_texts, prepared_texts


def sentiment_adaptation(
    *,
    source: str = "amazon",
    target: str = "yelp",
    labelled: Literal["source", "target"] = "source",
    tested: Literal["source", "target"] = "target",
    fractions: Sequence[float] = (0.5, 0.1, 0.4),
    length: int = 40,
    min_count: int = 2,
    lower: bool = True,
    vectors: str | Sequence[str] = (),
    policy: str = "proportional",
    seed: int = 0,
    data_dir: str | os.PathLike[str] | None = None,
) -> source_lib.Dataset:
    """Unsupervised domain adaptation between two sites of the labelled reviews.

    Each batch has sentences of both. `domain` is known of all of them, `sentiment` in
    train and validation of one site only; in test it counts for one site only, so that
    `sentiment/accuracy` of the test split is that of the target.

    Args:
        source: the site whose labels are there to learn from.
        target: the site whose sentences alone are there.
        labelled: whose sentiment is known in train and validation; "target" is the
            bound, learning with the labels that one does not have.
        tested: whose sentiment counts in test.
        fractions: of train, validation and test, of the 1,000 sentences of each site.
        length: as in the recipe `sentiment`, and so for the next four.
        min_count: how often a word comes in train, of both sites, to be known.
        lower: look words up in lower case.
        vectors: files in GloVe's format, for the initial embeddings.
        policy: how an epoch goes through the sites, see `data.GroupedBatches`.
        seed: of the split, and of the embeddings that `vectors` lack.
        data_dir: where `uci_sentiment` is prepared.

    Returns:
        Inputs `{"tokens": int32 [N, L]}`; labels int32 `[N]`: `sentiment`, 1 is
        positive, masked as above, and `domain`, 1 is the target.

    Raises:
        FileNotFoundError: the set is not prepared, or there are no such vectors.
        ValueError: a site that there is not, one that is both, or a word for a side
            that is neither "source" nor "target".

    References:
        Ganin et al., Domain-Adversarial Training of Neural Networks, JMLR 2016, who
        adapt between reviews of four kinds of Amazon's products.
    """
    sides = {"source": source, "target": target}
    if source == target:
        raise ValueError(
            f"sentiment_adaptation was asked to go from {source!r} to itself; give two "
            f"of {', '.join(prepared_texts.DOMAINS)}"
        )
    for name, side in (("labelled", labelled), ("tested", tested)):
        if side not in sides:
            raise ValueError(f"{name} is {side!r}; it is 'source' or 'target'")
    divided = labelled_texts.divided(
        prepared_texts.reviews((source, target), data_dir),
        fractions=fractions,
        seed=seed,
    )
    whole = corpora.dataset(
        "sentiment_adaptation",
        divided,
        length=length,
        min_count=min_count,
        lower=lower,
        vectors=vectors,
        policy=policy,
        seed=seed,
    )

    def relabelled(
        part: source_lib.ArraySource | None, seen: str
    ) -> source_lib.ArraySource | None:
        if part is None:
            return None
        second = part.masks[target]
        sentiment = np.where(second, part.labels[target], part.labels[source])
        here = second if seen == "target" else ~second
        return source_lib.ArraySource(
            part.inputs,
            {"sentiment": sentiment, "domain": second.astype(np.int32)},
            {"sentiment": here},
            part.groups,
            part.policy,
        )

    train = relabelled(whole.train, labelled)
    assert train is not None  # every Dataset has one
    tasks = {
        "sentiment": {"kind": "binary", "labels": prepared_texts.POLARITY},
        "domain": {"kind": "binary", "labels": (source, target)},
    }
    return source_lib.Dataset(
        whole.name,
        train,
        relabelled(whole.validation, labelled),
        relabelled(whole.test, tested),
        {**whole.facts, "tasks": tasks},
    )
