"""What there is to know of a method before choosing it: one row a method."""

import inspect
import re
import unicodedata
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mtl_jax.errors import unknown_name
from mtl_jax.weighting import base, citations
from mtl_jax.weighting.registry import METHODS, make

_T, _P = 4, 1009  # a number of tasks and of parameters that no other axis has


class Description(NamedTuple):
    """The row of a method in the table of methods."""

    name: str
    kind: str  # "loss", "Gramian", "gradients" or "bilevel"
    passes: str  # backward passes a step
    memory: str  # gradients held during a step
    state: str  # numbers kept between steps; T tasks, P shared parameters
    heads: str  # what the task-specific parameters get
    validation: str  # whether it needs validation data while it trains
    paper: str  # authors and year
    summary: str
    reference: str


def describe(name: str) -> Description:
    """The row of a method, from its default form and its factory's docstring.

    Args:
        name: a key of `METHODS`.

    Returns:
        The row.

    Raises:
        ValueError: unknown name.

    Example:
        >>> row = describe("famo")
        >>> row.kind, row.passes, row.heads
        ('loss', '1 (+ 1 forward)', 'w')
    """
    if name not in METHODS:
        raise unknown_name("method", name, METHODS)
    method = make(name, **_sample_arguments(name))
    text = inspect.getdoc(METHODS[name]) or ""
    reference = text.partition("References:\n")[2].partition("\n\n")[0]
    kind, passes, memory = _costs(method)
    if getattr(method, "observe", None) is not None:
        passes += " (+ 1 forward)"
    return Description(
        name=name,
        kind=kind,
        passes=passes,
        memory=memory,
        state=_state(method),
        heads=_heads(method, text),
        validation="yes" if isinstance(method, base.BilevelWeighting) else "no",
        paper=_short(name),
        summary=text.partition("\n")[0].rstrip("."),
        reference=" ".join(reference.split()).rstrip("."),
    )


def _sample_arguments(name: str) -> dict[str, Any]:
    """Values for the hyper-parameters that have no default."""
    samples = {"weights": jnp.ones(_T), "mu": 1.0}
    known = inspect.signature(METHODS[name]).parameters.values()
    return {p.name: samples[p.name] for p in known if p.default is p.empty}


def _costs(method: base.AnyMethod) -> tuple[str, str, str]:
    """Kind, backward passes of the trunk, gradients in memory."""
    if isinstance(method, base.LossWeighting):
        return "loss", "1", "1"
    if isinstance(method, base.GradientAggregator):
        passes = "T (z: 1)" if method.at_representation else "T"
        return "gradients", passes, passes
    if isinstance(method, base.BilevelWeighting):
        return "bilevel", "3 or more", "2 or more"
    if method.num_samples > 1:
        parts = method.num_samples
        return "Gramian", f"2T† + 1 on 1/{parts} of the batch", "1†"
    if method.where is not None:
        return "Gramian", "T† of a part, + 1", "1†"
    if method.hold is not None:
        return "Gramian", "T† + 1 or 1 (z: 1)", "1† (z: 1)"
    return "Gramian", "T† + 1 (z: 1)", "1† (z: 1)"


def _state(method: base.AnyMethod) -> str:
    """The size of the state as a sum of powers of T and P."""
    params: Any = jnp.zeros(_P)
    if isinstance(method, base.BilevelWeighting):
        params = (params, {})
    shapes = [
        leaf.shape
        for leaf in jax.tree.leaves(
            jax.eval_shape(lambda: method.init(_T, params)),
            is_leaf=lambda node: isinstance(node, base.SolverReport),
        )
        if not isinstance(leaf, base.SolverReport)
    ]
    counts: dict[str, int] = {}
    for shape in shapes:
        names = {_T: "T", _P: "P"}
        term = "·".join(names.get(n, str(n)) for n in shape).replace("T·T", "T²")
        counts[term] = counts.get(term, 0) + 1
    ones = counts.pop("", 0)
    terms = [f"{n if n > 1 else ''}{term}" for term, n in sorted(counts.items())]
    return " + ".join([*terms, *([str(ones)] if ones else [])]) or "none"


def _heads(method: base.AnyMethod, text: str) -> str:
    """From the rule of the method, or from the words "Heads get …" in its docstring."""
    rule = getattr(method, "weigh_heads", None)
    if isinstance(rule, bool):
        return "w" if rule else "1"
    said = re.search(r"Heads get (.+?)[.,;:]", " ".join(text.split()))
    words = said[1] if said else "?"
    return {"the same weights": "w", "weight 1": "1"}.get(words, words)


def _short(name: str) -> str:
    """First author and year."""
    if name in citations.FOLKLORE:
        return "-"
    entry = citations.citation(name)
    authors = re.search(r"author = \{(.+?)\},\n", entry, re.DOTALL)
    year = re.search(r"year = \{?(\d+)", entry)
    assert authors and year, f"references.bib: {name} has no author or year"
    names = [a.partition(",")[0].strip() for a in authors[1].split(" and ")]
    first = names[0] + {1: "", 2: f" and {names[-1]}"}.get(len(names), " et al.")
    return f"{_plain(first)} {year[1]}"


def _plain(text: str) -> str:
    """TeX accents as letters."""
    accents = {"'": "\u0301", '"': "\u0308", "`": "\u0300", "^": "\u0302"}
    text = re.sub(
        r"""\{?\\(['"`^])\{?(\w)\}?\}?""",
        lambda m: unicodedata.normalize("NFC", m[2] + accents[m[1]]),
        text,
    )
    return text.replace("{", "").replace("}", "")
