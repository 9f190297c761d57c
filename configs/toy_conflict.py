"""The toy problem of the CAGrad, Nash-MTL and FAMO papers, for every method at once.

Command:

    python configs/toy_conflict.py

All methods from all five starts are one compiled program. It writes toy_conflict.png
(the ways on the contours of the summed losses, with the exact Pareto front) and
toy_conflict.json (end points, distances from the front, what was left out and why), and
prints who reaches the front.

Measured on two cores of an AMD EPYC, busy with other work: 39 methods, 35,000 steps,
94 s, of which compilation about 20 s. On the front from

- 5 of 5 starts: aligned_mtl, db_mtl, fairgrad, famo, imtl_g, mgda, nash_mtl, pcd;
- 4 of 5: cosmos, cr_mogm, dualproj, focal, gradnorm, gradvac, metabalance, pcgrad,
  sdmgrad, upgrad;
- 3 of 5: cagrad, config, dtp, dwa, equal, excess_mtl, gls, graddrop, imtl_l, moco,
  modo, momentum_config, preference, rlw, si, static, stch, stch_mtl, tchebycheff, uw;
- 0 of 5: pbi.

Left out: krum and trimmed_mean, which need more than two tasks, and the bilevel
methods, which need data. The hard start is (9, 9). In the valleys of the upper half the
ways are chaotic: with other rounding they end elsewhere, but the papers' methods reach
the front from the same starts.
"""

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mtl_jax.report import atomic, drawing
from mtl_jax.research import toy_conflict

LIMITS = ((-10.5, 10.5), (-10.5, 10.5))
FRONT = "#D7191C"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=35_000, help="of Adam")
    parser.add_argument("--scale", type=float, default=0.1, help="of the first loss")
    parser.add_argument("--out", type=Path, default=Path("."), metavar="DIR")
    parser.add_argument("--methods", nargs="+", metavar="NAME", help="default: all")
    asked = parser.parse_args(arguments)
    try:
        choice = toy_conflict.choose(asked.methods)
    except ValueError as error:
        parser.error(str(error))
    if asked.steps < 1 or not choice.methods:
        parser.error(
            f"nothing to run: {asked.steps} steps, {len(choice.methods)} methods"
        )
    every = math.gcd(asked.steps, 50)
    began = time.perf_counter()
    with jax.enable_x64(True):  # rounding chooses the way in the valleys
        paths = toy_conflict.run(
            choice.methods, steps=asked.steps, scale=asked.scale, every=every
        )
    seconds = time.perf_counter() - began
    result = {
        "steps": asked.steps,
        "scale": asked.scale,
        "starts": [list(start) for start in toy_conflict.STARTS],
        "on_front_within": toy_conflict.ON_FRONT,
        "seconds": round(seconds, 1),
        "methods": {
            name: outcome(path, choice.hyper[name]) for name, path in paths.items()
        },
        "left_out": choice.left_out,
    }
    print(table(result))
    asked.out.mkdir(parents=True, exist_ok=True)
    with atomic.replacing(asked.out / "toy_conflict.json") as file:
        file.write_text(json.dumps(result, indent=1) + "\n")
    picture = draw(paths, result, asked.out / "toy_conflict.png")
    print(
        f"\n{len(paths)} methods, {asked.steps} steps, {seconds:.0f} s; see {picture}"
    )


def outcome(path: np.ndarray, hyper: dict[str, Any]) -> dict[str, Any]:
    """Where the trajectories `[S, N, 2]` of a method end."""
    ends = path[:, -1]
    distance = toy_conflict.distance_to_front(ends)
    return {
        "hyper": hyper,
        "ends": ends.tolist(),
        "distance": distance.tolist(),
        "on_front": (distance < toy_conflict.ON_FRONT).tolist(),
    }


def table(result: dict[str, Any]) -> str:
    """Who reaches the front from where, best first."""
    starts = [f"({a:g}, {b:g})" for a, b in result["starts"]]
    rows = [["method", "on the front", *starts]]
    by_name = sorted(
        result["methods"].items(), key=lambda row: -sum(row[1]["on_front"])
    )
    for name, row in by_name:
        ends = [
            f"{x1:6.2f} {x2:6.2f} {'*' if on else ' '}"
            for (x1, x2), on in zip(row["ends"], row["on_front"], strict=True)
        ]
        rows.append([name, f"{sum(row['on_front'])} of {len(ends)}", *ends])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    lines.append("* on the Pareto front; the columns are the starts")
    lines += [f"left out: {name}: {why}" for name, why in result["left_out"].items()]
    return "\n".join(lines)


def draw(paths: dict[str, np.ndarray], result: dict[str, Any], file: Path) -> Path:
    """One small panel a method, as in the papers."""
    columns = min(len(paths), max(4, math.ceil(math.sqrt(1.6 * len(paths)))))
    title = f"Toy problem, {result['steps']:,} steps, scale {result['scale']:g}"
    side = max(2.1, min(4.2, 8.4 / columns))
    with drawing.style():
        figure, axes = drawing.panels(
            len(paths), title, columns=columns, size=(side, side)
        )
        grid, heights = landscape()
        levels = np.quantile(heights, np.linspace(0.02, 0.98, 25))  # the valleys too
        x1 = np.linspace(-7, 7, 200)
        for axis, (name, path) in zip(axes, paths.items(), strict=True):
            axis.contour(
                *grid,
                heights,
                levels=levels,
                colors="#BBBBBB",
                linewidths=0.5,
                linestyles="solid",
            )
            axis.plot(x1, toy_conflict.pareto_set(x1), color=FRONT, linewidth=2.5)
            for index, points in enumerate(path):
                colour = drawing.colour(index)
                on = result["methods"][name]["on_front"][index]
                axis.plot(*points.T, color=colour, linewidth=1.3)
                axis.plot(*points[0], "o", color=colour, markersize=4)
                axis.plot(
                    *points[-1],
                    marker="*" if on else "X",
                    color=colour,
                    markeredgecolor="black",
                    markeredgewidth=0.6,
                    markersize=9 if on else 6,
                    zorder=5,
                )
            axis.set(xlim=LIMITS[0], ylim=LIMITS[1], xlabel="", xticks=[], yticks=[])
            axis.grid(visible=False)
            reached = result["methods"][name]["on_front"]
            drawing.headline(axis, name, f"{sum(reached)}/{len(reached)}")
        explain(figure, len(paths))
        return drawing.save(figure, file)


def explain(figure: Any, panels: int) -> None:
    """The legend below the panels."""
    from matplotlib.lines import Line2D

    marks = [
        ("start", {"marker": "o", "markersize": 4}),
        ("end, on the Pareto front", {"marker": "*", "markersize": 9}),
        ("end, elsewhere", {"marker": "X", "markersize": 6}),
    ]
    handles = [
        Line2D([], [], linestyle="", color="#666666", label=text, **mark)
        for text, mark in marks
    ]
    handles.append(Line2D([], [], color=FRONT, linewidth=2.5, label="Pareto front"))
    handles.append(Line2D([], [], color="#BBBBBB", label="sum of the losses"))
    figure.legend(
        handles=handles, loc="outside lower center", ncols=5 if panels > 1 else 2
    )


def landscape() -> tuple[list[np.ndarray], np.ndarray]:
    """A grid of points, and the sum of the two losses there without the scale."""
    x1, x2 = np.meshgrid(*(np.linspace(*limits, 200) for limits in LIMITS))
    points = jnp.asarray(np.stack([x1, x2], -1).reshape(-1, 2))
    values = jax.vmap(lambda x: toy_conflict.losses(x, 1.0))(points)
    return [x1, x2], np.asarray(values.sum(axis=1)).reshape(x1.shape)


if __name__ == "__main__":
    main()
