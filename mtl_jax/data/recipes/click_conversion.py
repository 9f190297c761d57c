"""What is shown, clicked and bought: a conversion is only possible after a click."""

from collections.abc import Callable

import numpy as np

from mtl_jax.data import source

WIDTH = 4
"""Of the hidden vectors of users and items."""
STEEPNESS = 1.5
"""Standard deviation of the scores, in logits."""


def click_conversion(
    *,
    users: int = 200,
    items: int = 100,
    features: int = 8,
    click_rate: float = 0.1,
    conversion_rate: float = 0.15,
    correlation: float = 0.5,
    train: int = 60_000,
    validation: int = 10_000,
    test: int = 30_000,
    seed: int = 0,
) -> source.Dataset:
    """Synthetic impressions with clicks and the conversions that follow some of them.

    Of each impression (a group of users, an item, a few numbers) two scores are made,
    each a product of hidden vectors of user and item plus a linear function of the
    numbers. A click is drawn from the logistic function of the first, and whether a
    click *would* convert from that of the second. Labels, all 0 or 1:

    * `click`;
    * `conversion`: clicked and converted, known of every impression ("the entire
      space");
    * `conversion_if_clicked`: known, and unmasked, only of clicked impressions in train
      and validation, as in a log of a shop. In the test split it is the drawn one for
      every impression. No real log has that: it shows what a model that was trained on
      clicks alone is worth on what is shown.

    Args:
        users: groups of users.
        items: how many there are.
        features: numbers of an impression.
        click_rate: share of impressions that are clicked, about.
        conversion_rate: share of the impressions that would convert if clicked, about;
            of the clicked ones it is higher with a positive correlation.
        correlation: of the two scores, from -1 to 1.
        train: impressions of the training split.
        validation: impressions of the validation split.
        test: impressions of the test split.
        seed: of all that is random.

    Returns:
        Inputs `{"numeric": float32 [N, features], "categories": int32 [N, 2]}`; in the
        facts the rates of train.

    Raises:
        ValueError: a rate or correlation out of range.

    Example:
        >>> data = click_conversion(train=2000, validation=100, test=100)
        >>> labels = data.train.labels
        >>> bool((labels["conversion"] <= labels["click"]).all())
        True

    References:
        Ma et al., Entire Space Multi-Task Model: An Effective Approach for Estimating
        Post-Click Conversion Rate, SIGIR 2018, for the problem.
    """
    rates = np.array([click_rate, conversion_rate])
    if not (rates > 0).all() or not (rates < 1).all() or abs(correlation) > 1:
        raise ValueError(
            f"click_rate={click_rate}, conversion_rate={conversion_rate}, "
            f"correlation={correlation}: give rates between 0 and 1, and a correlation "
            "from -1 to 1."
        )
    random = np.random.default_rng(seed)
    first = _score(random, users, items, features)
    own = _score(random, users, items, features)
    counts = {"train": train, "validation": validation, "test": test}
    drawn = {
        name: (
            random.normal(size=(count, features)),
            random.integers(0, users, count),
            random.integers(0, items, count),
            random.uniform(size=(2, count)),
        )
        for name, count in counts.items()
        if count
    }
    made, offsets, facts = {}, np.zeros(2), {}
    for name, (numbers, user, item, luck) in drawn.items():
        click_score = first(numbers, user, item)
        other = own(numbers, user, item)
        mixed = correlation * click_score + np.sqrt(1 - correlation**2) * other
        scores = STEEPNESS * np.stack([click_score, mixed])
        if name == "train":
            offsets = np.array(
                [_offset(s, rate) for s, rate in zip(scores, rates, strict=True)]
            )
        click, would = (luck < _logistic(scores + offsets[:, None])).astype(np.int32)
        known = np.ones(len(click), bool) if name == "test" else click == 1
        made[name] = source.ArraySource(
            {
                "numeric": numbers.astype(np.float32),
                "categories": 1 + np.stack([user, item], axis=1).astype(np.int32),
            },
            {
                "click": click,
                "conversion": click * would,
                "conversion_if_clicked": np.where(known, would, 0),
            },
            {"conversion_if_clicked": known},
        )
        if name == "train":
            facts = {
                "click_rate": float(click.mean()),
                "conversions_per_click": float(would[click == 1].mean()),
            }
    yes_or_no = {"kind": "binary"}
    tasks = dict.fromkeys(made["train"].labels, yes_or_no)
    cardinalities = {"cardinalities": (1 + users, 1 + items)}
    return source.Dataset(
        "click_conversion",
        made["train"],
        made.get("validation"),
        made.get("test"),
        {"tasks": tasks, "model": cardinalities, **facts},
    )


def _score(
    random: np.random.Generator, users: int, items: int, features: int
) -> Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]:
    """A function of numbers, users and items, of variance 1."""
    of_user = random.normal(size=(users, WIDTH))
    of_item = random.normal(size=(items, WIDTH)) / np.sqrt(WIDTH)
    weights = random.normal(size=features)
    weights /= np.linalg.norm(weights)

    def score(numbers: np.ndarray, user: np.ndarray, item: np.ndarray) -> np.ndarray:
        pairs = (of_user[user] * of_item[item]).sum(1)
        return (pairs + numbers @ weights) / np.sqrt(2)

    return score


def _logistic(scores: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-scores))


def _offset(scores: np.ndarray, rate: float) -> float:
    """What to add to the scores for this mean probability, by bisection."""
    low, high = -20.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2
        if _logistic(scores + middle).mean() < rate:
            low = middle
        else:
            high = middle
    return (low + high) / 2
