"""Check the methods against a file of golden values, whoever made it.

    python tests/weighting/golden.py FILE [--dtype float32|float64]

FILE has the schema of `public.json` (its key "meta" tells it): cases (Jacobians and
losses) and entries (a strategy, its hyper-parameters, the exact result, a tolerance).
The row of `golden_strategies.STRATEGIES` builds the method of an entry, and all that
the entry expects is compared. Failures and skips are printed with the entry's id; the
last line is

    checked N, failed M, skipped K

where the failed are among the checked. An entry is skipped only where the file leaves
it open: nothing is expected, no tolerance in this dtype, no unique solution, optional.
In float32, where the tolerance is meant for d, weights may ask for more digits than a
Gramian in float32 has; those are printed and not compared.
The exit status is 1 where an entry failed and 2 where the file is wrong.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from golden_checks import Check, is_statistical, relative
from golden_strategies import STRATEGIES

from mtl_jax.errors import unknown_name

DTYPES = ("float64", "float32")


class MalformedError(ValueError):
    """The file is not one of golden values; the text says where."""


class Report(NamedTuple):
    """What became of every entry."""

    checked: int
    failures: dict[str, list[str]]  # id to what is wrong
    skips: dict[str, str]  # id to the reason
    lost: dict[str, str]  # id to which part no method could have right, and why
    not_compared: set[str]  # "strategy.key" of `expected` that no check looks at

    def __str__(self) -> str:
        lines = [f"skip {name}: {reason}" for name, reason in self.skips.items()]
        lines += [f"float32 loses {name}: {why}" for name, why in self.lost.items()]
        for name, texts in self.failures.items():
            lines += [f"FAIL {name}: {text}" for text in texts]
        if self.not_compared:
            keys = ", ".join(sorted(self.not_compared))
            lines.append(f"expected values that no check looks at: {keys}")
        lines.append(
            f"checked {self.checked}, failed {len(self.failures)}, "
            f"skipped {len(self.skips)}"
        )
        return "\n".join(lines)


def read(path: Path | str) -> dict[str, Any]:
    """The file, after a look at its schema.

    Raises:
        MalformedError: it cannot be read, or has another schema.
    """
    try:
        golden = json.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise MalformedError(f"cannot be read: {error}") from error
    if not isinstance(golden, dict):
        raise MalformedError(f"holds a {type(golden).__name__}, not an object")
    for key, kind in (("cases", dict), ("entries", list)):
        if not isinstance(golden.get(key), kind):
            raise MalformedError(f"has no {key!r}; its keys are {sorted(golden)}")
    if not golden["entries"]:
        raise MalformedError("has no entries")
    for name, case in golden["cases"].items():
        _look_at_case(f"case {name!r}", case)
    for index, entry in enumerate(golden["entries"]):
        _look_at_entry(f"entry {index}", entry, golden["cases"])
    return golden


def _look_at_case(name: str, case: Any) -> None:
    if not isinstance(case, dict) or not isinstance(case.get("T"), int):
        raise MalformedError(f"{name} has no number of tasks T")
    t, d, k = (case.get(key) for key in ("T", "D", "K"))
    lead = () if k is None else (k,)
    shapes = {"L": (*lead, t), "L_after": (*lead, t)}
    shapes |= {key: (*lead, t, d) for key in ("J", "J2", "J3")}
    for key in shapes.keys() & case.keys():
        try:
            array = np.asarray(case[key], np.float64)
        except (TypeError, ValueError) as error:
            raise MalformedError(f"{name}: {key} is no array: {error}") from error
        if array.shape != shapes[key]:
            raise MalformedError(
                f"{name}: {key} has shape {array.shape}; T, D and K say {shapes[key]}"
            )
        if not np.all(np.isfinite(array)):
            raise MalformedError(f"{name}: {key} is not finite")


def _look_at_entry(name: str, entry: Any, cases: dict[str, Any]) -> None:
    if not isinstance(entry, dict):
        raise MalformedError(f"{name} is a {type(entry).__name__}, not an object")
    for key, kind in (("id", str), ("strategy", str), ("case", str), ("hyper", dict)):
        if not isinstance(entry.get(key), kind):
            raise MalformedError(f"{name} ({entry.get('id')}) has no {key!r}")
    if entry["case"] not in cases:
        raise MalformedError(f"{name} ({entry['id']}): no case {entry['case']!r}")
    for key in ("expected", "tolerance"):
        if not isinstance(entry.get(key), dict | None):
            raise MalformedError(f"{name} ({entry['id']}): {key!r} is no object")


def check(golden: dict[str, Any], dtype: str) -> Report:
    """Hold the methods against every entry of a file that `read` has read."""
    checked, failures, skips, lost = 0, {}, {}, {}
    expects: set[str] = set()
    compares: set[str] = set()
    last = None
    with jax.enable_x64(dtype == "float64"):
        for entry in sorted(golden["entries"], key=lambda entry: entry["strategy"]):
            name, strategy = entry["id"], entry["strategy"]
            if strategy != last:
                # Compiled programs keep memory maps, of which a process has only so
                # many; another strategy does not use them.
                jax.clear_caches()
                last = strategy
            entry = _without_nulls(entry)
            if strategy in STRATEGIES and (reason := _left_open(entry, dtype)):
                skips[name] = reason
                continue
            try:
                checks = _compared(entry, golden["cases"][entry["case"]], dtype)
                texts = [text for check in checks if (text := check.wrong())]
                if texts and entry.get("optional"):
                    skips[name] = f"{texts[0]}, but is optional: {entry['optional']}"
                    continue
                expects |= {f"{strategy}.{key}" for key in entry["expected"]}
                for one in checks:
                    lost |= {name: one.lost} if one.lost else {}
                    compares |= {f"{strategy}.{key}" for key in one.what.split(" or ")}
            except Exception as error:
                texts = [f"{type(error).__name__}: {error}"]
            checked += 1
            if texts:
                failures[name] = texts
    return Report(checked, failures, skips, lost, expects - compares)


def _without_nulls(entry: dict[str, Any]) -> dict[str, Any]:
    """The entry without the parts of `expected` that are undefined."""
    expected = entry.get("expected") or {}
    known = {key: value for key, value in expected.items() if value is not None}
    return {**entry, "expected": known or None}


def _left_open(entry: dict[str, Any], dtype: str) -> str | None:
    """Why the file does not want this entry compared, or `None`."""
    expected = entry.get("expected")
    if expected is None:
        return f"undefined: {entry.get('undefined', 'nothing is expected')}"
    if is_statistical(entry):
        return None
    if entry.get("d_unique", True):
        tolerated = relative(entry, dtype) is not None
        return None if tolerated else f"no tolerance in {dtype}"
    return None if "d_normalized" in expected else "d is not unique"


def _compared(entry: dict[str, Any], case: dict[str, Any], dtype: str) -> list[Check]:
    """All comparisons of an entry, at least one.

    Raises:
        ValueError: there is nothing to compare, or nothing to compare it with.
    """
    if entry["strategy"] not in STRATEGIES:
        raise unknown_name("strategy", entry["strategy"], STRATEGIES)
    checks = STRATEGIES[entry["strategy"]](entry, case, dtype)
    if not checks:
        raise ValueError(f"nothing to compare with {sorted(entry['expected'])}")
    return checks


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("file", type=Path, help="golden values, as in public.json")
    parser.add_argument("--dtype", choices=DTYPES, default=DTYPES[0])
    asked = parser.parse_args(arguments)
    try:
        golden = read(asked.file)
    except MalformedError as error:
        print(f"error: {asked.file} {error}", file=sys.stderr)
        return 2
    report = check(golden, asked.dtype)
    print(report)
    return 1 if report.failures else 0


if __name__ == "__main__":
    jax.config.update("jax_platforms", "cpu")
    sys.exit(main())
