"""The table of methods as text, for terminals and READMEs."""

import inspect

from mtl_jax.weighting import citations
from mtl_jax.weighting.catalogue import Description, describe
from mtl_jax.weighting.registry import METHODS


def text_table() -> str:
    """All methods, one a line, for a terminal."""
    rows = [_HEADER, *(_cells(describe(name)) for name in METHODS)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(_HEADER))]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines) + f"\n\n{LEGEND}"


def page(name: str) -> str:
    """All there is to read of one method: its docstring, signature and citation."""
    row = describe(name)
    factory = METHODS[name]
    signature = str(inspect.signature(factory)).rpartition(" -> ")[0]
    facts = [f"{k}: {v}" for k, v in zip(_HEADER[1:], _cells(row)[1:], strict=True)]
    parts = [f"{name}{signature}", inspect.getdoc(factory) or "", "\n".join(facts)]
    if name not in citations.FOLKLORE:
        parts.append(citations.citation(name))
    return "\n\n".join(parts)


def markdown_table() -> str:
    """All methods, one a line, for a README."""
    rows = [_cells(describe(name)) for name in METHODS]
    body = [[f"`{row[0]}`", *row[1:]] for row in rows]
    lines = [list(_HEADER), ["---"] * len(_HEADER), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cells(row: Description) -> tuple[str, ...]:
    return tuple(row[: len(_HEADER)])


_HEADER = (
    "method",
    "sees",
    "backward passes",
    "gradients held",
    "state",
    "heads",
    "validation data",
    "paper",
)

LEGEND = (
    "T tasks, P shared parameters; z: at the representation (at='representation').\n"
    "Passes are those of the trunk in a step; state counts numbers; heads: the factor "
    "of the\ntask-specific parameters' gradients, w for the task weights. †: the "
    "weight gradients\nof most layers are never made task by task. Details: "
    "mtl-jax methods NAME"
)
"""What the columns mean."""
