"""How every plot of the package looks: colours, curves, panels, files."""

import contextlib
import itertools
import math
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mtl_jax.report import atomic

# Okabe and Ito's palette, which stays apart under colour blindness, without the yellow
# that vanishes on white.
COLOURS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#000000",
    "#7F7F7F",
)
SMALL = (2.3, 1.7)  # inches of a panel that is one of many
WIDE = 30.0  # the ratio of greatest to least value from which an axis is logarithmic
_SMOOTH_FROM = 60  # points in a curve from which its running mean is drawn as well
_STYLE = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#666666",
    "axes.grid": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
}


@contextlib.contextmanager
def style() -> Iterator[None]:
    """The package's look, whatever the user's matplotlib settings are."""
    from matplotlib import style as styles

    with warnings.catch_warnings():
        # A name in letters the font lacks gives boxes and a warning; no reason to fail.
        warnings.simplefilter("ignore")
        with styles.context(["default", _STYLE]):
            yield


def colour(index: int) -> str:
    """The colour of the task at `index`, the same in every plot."""
    return COLOURS[index % len(COLOURS)]


def label(name: str, limit: int = 24) -> str:
    """`name` as a plot can show it: not too long, no mathematics, no hiding."""
    if len(name) > limit:
        half = (limit - 1) // 2
        name = f"{name[:half]}…{name[-half:]}"
    # matplotlib reads $..$ as mathematics and hides labels that start with "_".
    name = name.replace("$", r"\$")
    return f"\u200b{name}" if name.startswith("_") else name


def columns(count: int) -> int:
    """Panels beside each other for `count` small ones: a picture wider than high."""
    return min(8, max(3, math.ceil(math.sqrt(count))))


def panels(
    count: int, title: str, *, columns: int, size: tuple[float, float]
) -> tuple[Any, list[Any]]:
    """A figure with `count` axes in rows of `columns`, each `size` inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(columns, count)
    rows = math.ceil(count / columns)
    # Figure and canvas by hand: pyplot would choose a backend for the whole process.
    figure = Figure(
        figsize=(columns * size[0], rows * size[1] + 0.6), layout="constrained"
    )
    FigureCanvasAgg(figure)
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
    axes = [figure.add_subplot(rows, columns, index + 1) for index in range(count)]
    for index, axis in enumerate(axes):
        axis.margins(x=0.03)
        axis.locator_params(axis="x", nbins=4 if size == SMALL else 8, integer=True)
        if index // columns == rows - 1:
            axis.set_xlabel("step")
    return figure, axes


def headline(axis: Any, name: str, value: str = "") -> None:
    """The panel's title: the task on the left, its last value on the right."""
    axis.set_title(label(name, 20), loc="left")
    if value:
        axis.set_title(value, loc="right", fontweight="bold")


def curve(
    axis: Any,
    steps: Sequence[float],
    values: Sequence[float],
    colour: str,
    *,
    dashed: bool = False,
    smooth: bool = False,
    markers: bool = False,
    width: float = 1.5,
) -> None:
    """One curve; `smooth` draws a long one faint, its running mean on top."""
    if not steps:
        return
    means = running_mean(values) if smooth and len(values) >= _SMOOTH_FROM else None
    if means is not None:
        axis.plot(steps, values, color=colour, linewidth=0.6, alpha=0.3)
        values = means
    few = len(steps) == 1 or ((markers or dashed) and len(steps) <= 30)
    axis.plot(
        steps,
        values,
        "--" if dashed else "-",
        color=colour,
        linewidth=width,
        marker="o" if few else None,
        markersize=3.5,
    )


def running_mean(values: Sequence[float]) -> list[float]:
    """The mean over a thirtieth of the curve around each point, less at the ends."""
    reach = max(1, len(values) // 60)
    sums = [0.0, *itertools.accumulate(values)]
    means = []
    for index in range(len(values)):
        first, end = max(0, index - reach), min(len(values), index + reach + 1)
        means.append((sums[end] - sums[first]) / (end - first))
    return means


def fit_scale(axes: Sequence[Any], values: Sequence[float]) -> None:
    """Logarithmic y axes where the values are positive and spread wide."""
    from matplotlib import ticker

    if not values or min(values) <= 0 or max(values) / min(values) <= WIDE:
        return
    for axis in axes:
        axis.set_yscale("log")
        low, high = axis.get_ylim()
        # Decades alone leave a short axis without a number to read.
        subs = (1.0,) if high / low > 1000 else (1.0, 3.0)
        axis.yaxis.set_major_locator(ticker.LogLocator(subs=subs))
        axis.yaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))
        axis.yaxis.set_minor_formatter(ticker.NullFormatter())


def same_range(axes: Sequence[Any], values: Sequence[float]) -> None:
    """One y range for all axes, a little wider than the values'."""
    low, high = min(values), max(values)
    gap = 0.06 * (high - low) or 0.1 * abs(high) or 0.1
    # A margin below must not take positive values to an axis that ends below zero.
    floor = low / 1.2 if low > 0 else low - gap
    for axis in axes:
        axis.set_ylim(max(low - gap, floor), high + gap)


def key(figure: Any, entries: Sequence[tuple[str, str, Any]]) -> None:
    """A legend below the plots; entries are (label, colour, line style)."""
    from matplotlib.lines import Line2D

    lines = [
        Line2D([], [], color=colour, linestyle=line, linewidth=1.5, label=text)
        for text, colour, line in entries
    ]
    figure.legend(handles=lines, loc="outside lower center", ncols=min(4, len(lines)))


def save(figure: Any, path: Path) -> Path:
    """Write the figure as a PNG, whole or not at all."""
    with atomic.replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120, facecolor="white")
    return path
