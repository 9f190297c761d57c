"""What of a trained run another model begins with, and what it does not."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mtl_jax import config as settings
from mtl_jax import models, stacked, trained
from mtl_jax.models import Variables
from mtl_jax.models.base import SCHEDULE
from mtl_jax.typing import PyTree

_MOST = 12


class Report(NamedTuple):
    """What happened to each leaf, by name.

    Attributes:
        taken: those that have the values of the trained run.
        parameters: how many numbers that is.
        other_shape: those that both have, with the shapes here and there.
        only_here: new ones, which stay as initialised.
        only_there: those that were left behind.
        skipped: those that were to stay as initialised.
        counters: those that count the steps of a model's own schedules, from 0 again.
    """

    taken: tuple[str, ...]
    parameters: int
    other_shape: dict[str, tuple[tuple[int, ...], tuple[int, ...]]]
    only_here: tuple[str, ...]
    only_there: tuple[str, ...]
    skipped: tuple[str, ...]
    counters: tuple[str, ...] = ()

    def __str__(self) -> str:
        differing = [
            f"{name}: {list(here)} here, {list(there)} there"
            for name, (here, there) in self.other_shape.items()
        ]
        parts = {
            f"taken over, {self.parameters:,} numbers": self.taken,
            "of another shape, initialised anew": differing,
            "only here, initialised": self.only_here,
            "skipped as asked, initialised": self.skipped,
            "counters of steps, which begin anew": self.counters,
            "only there, left behind": self.only_there,
        }
        lines = []
        for title, names in parts.items():
            if names:
                lines.append(f"{title} ({len(names)}):")
                lines += [f"  {name}" for name in names[:_MOST]]
            if len(names) > _MOST:
                lines.append(f"  ... and {len(names) - _MOST} more")
        return "\n".join(lines)


def partial_restore(
    variables: Variables,
    source: Variables,
    *,
    rename: Mapping[str, str] | None = None,
    skip: Sequence[str] = (),
) -> tuple[Variables, Report]:
    """The variables of a model, with those of another where name and shape agree.

    Heads that are stacked are taken one by one. Names are `shared/trunk/…`,
    `specific/heads_digit/…` and `collections/…`. What counts steps, in a collection
    "schedule", is not taken: the schedule of the new run begins with it.

    Args:
        variables: as initialised.
        source: of the other model.
        rename: the beginnings of names here, and what the other model calls them; the
            longest that fits counts. One of parameters is also of the collections of
            the same module, its batch statistics.
        skip: regular expressions; what they are found in stays as initialised.

    Returns:
        The variables, and a report.

    Raises:
        ValueError: nothing agrees (the text has the report), a name or an expression
            of `rename` or `skip` that nothing has, or that is no expression.

    Example:
        >>> here = Variables({"trunk": jnp.zeros(2)}, {"new": jnp.zeros(3)}, ())
        >>> there = Variables({"body": jnp.ones(2)}, {"old": jnp.ones(1)}, ())
        >>> found, report = partial_restore(
        ...     here, there, rename={"shared/trunk": "shared/body"})
        >>> print(found.shared["trunk"])
        [1. 1.]
        >>> print(report)
        taken over, 2 numbers (1):
          shared/trunk
        only here, initialised (1):
          specific/new
        only there, left behind (1):
          specific/old
    """
    apart = stacked.named(variables._asdict())
    pairs, treedef = jax.tree_util.tree_flatten_with_path(apart)
    there = _leaves(source)
    known = dict(there)
    names = [
        jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in pairs
    ]
    patterns = _checked(names, list(known), rename or {}, skip)
    taken, only_here, skipped, counters, other_shape = [], [], [], [], {}
    leaves, numbers = [], 0
    for name, (_, leaf) in zip(names, pairs, strict=True):
        theirs = _theirs(name, rename or {}, known)
        found = known.get(theirs)
        there.pop(theirs, None)
        if any(pattern.search(name) for pattern in patterns):
            skipped.append(name)
        elif _counts_steps(name):
            counters.append(name)
        elif found is None:
            only_here.append(name)
        elif found.shape != leaf.shape:
            other_shape[name] = (tuple(leaf.shape), tuple(found.shape))
        else:
            taken.append(name)
            numbers += int(np.size(found))
            leaf = jnp.asarray(found).astype(leaf.dtype)
        leaves.append(leaf)
    report = Report(
        tuple(taken),
        numbers,
        other_shape,
        tuple(only_here),
        tuple(there),
        tuple(skipped),
        tuple(counters),
    )
    if not taken:
        raise ValueError(
            "nothing of the trained model fits this one. Give transfer.rename, the "
            f"beginnings of names here and there:\n{report}"
        )
    new = jax.tree_util.tree_unflatten(treedef, leaves)
    return Variables(**stacked.stack_like(new, variables._asdict())), report


def from_run(
    config: settings.Config, variables: Variables, task_names: Sequence[str]
) -> tuple[Variables, Report]:
    """`partial_restore` from a work dir.

    Args:
        config: of the run that begins.
        variables: as initialised.
        task_names: of its tasks, in their order.

    Raises:
        FileNotFoundError: no such work dir, or no checkpoint in it.
        ValueError: nothing agrees, or as many tasks, but others or in another order,
            in an architecture where their place says which numbers are theirs.
    """
    wanted = config.transfer
    assert wanted.init_from is not None
    run = trained.load_run(wanted.init_from, wanted.checkpoint)
    _check_order(config, task_names, [task.name for task in run.parts.tasks])
    state = run.state
    source = Variables(state.shared, state.specific, state.collections)
    return partial_restore(variables, source, rename=wanted.rename, skip=wanted.skip)


def _check_order(
    config: settings.Config, here: Sequence[str], there: Sequence[str]
) -> None:
    by_place = config.model.architecture in models.BY_POSITION
    if not by_place or len(here) != len(there):
        return  # with more or fewer tasks, such arrays have other shapes
    moved = [n for n, old in zip(here, there, strict=True) if n != old]
    if moved:
        name = config.model.architecture
        raise ValueError(
            f"the run in {config.transfer.init_from} has the tasks {', '.join(there)} "
            f"and this one {', '.join(here)}; {name!r} knows tasks by their place, so "
            f"that {moved[0]!r} would get what another one has "
            "learnt. Give the tasks the names and the order of the old run"
        )


def has_checkpoint(workdir: Path) -> bool:
    """Whether a run has been saved, and goes on by itself."""
    folder = workdir / "checkpoints"
    return folder.is_dir() and any(p.name.isdigit() for p in folder.iterdir())


def _checked(
    here: Sequence[str],
    there: Sequence[str],
    rename: Mapping[str, str],
    skip: Sequence[str],
) -> list[re.Pattern[str]]:
    """The expressions of `skip`, after a check that everything is of some name."""
    patterns = []
    for text in skip:
        try:
            patterns.append(re.compile(text))
        except re.error as error:
            raise ValueError(
                f"transfer.skip has {text!r}, which is no regular expression: {error}"
            ) from error
        if not any(patterns[-1].search(name) for name in here):
            raise ValueError(
                f"transfer.skip has {text!r}, which is in no name of this model. "
                f"{_listed(here)}"
            )
    for old, new in rename.items():
        for text, names, where in ((old, here, "this"), (new, there, "the trained")):
            if not any(_begins(name, text) for name in names):
                raise ValueError(
                    f"transfer.rename has {old!r}: {new!r}, and no name of {where} "
                    f"model begins with {text!r}. {_listed(names)}"
                )
    return patterns


def _listed(names: Sequence[str]) -> str:
    layers = dict.fromkeys(name.rpartition("/")[0] or name for name in names)
    return f"There are: {', '.join(layers)}"


def _counts_steps(name: str) -> bool:
    parts = name.split("/")
    return parts[0] == "collections" and SCHEDULE in parts[1:3]


def _leaves(tree: Variables) -> dict[str, Any]:
    apart: PyTree = stacked.named(jax.device_get(tree._asdict()))
    pairs, _ = jax.tree_util.tree_flatten_with_path(apart)
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf)
        for path, leaf in pairs
    }


def _theirs(name: str, rename: Mapping[str, str], known: Mapping[str, Any]) -> str:
    """What the other model calls a leaf."""
    found = _renamed(name, rename)
    if found != name or not name.startswith("collections/"):
        return found
    # collections/batch_stats/trunk/…, or with a number before of trunk or heads
    first, kind, rest = _COLLECTION.findall(name)[0]
    for part in ("shared", "specific"):
        module = _renamed(f"{part}/{rest}", rename)
        if module != f"{part}/{rest}":
            module = module.partition("/")[2]
            names = [f"collections/{n}{kind}/{module}" for n in (first, *_PLACES)]
            return next((n for n in names if n in known), names[0])
    return name


_COLLECTION = re.compile(r"collections/(\d+/)?([^/]*)/?(.*)")
_PLACES = ("", "0/", "1/")


def _begins(name: str, start: str) -> bool:
    return name == start or name.startswith(start.rstrip("/") + "/")


def _renamed(name: str, rename: Mapping[str, str]) -> str:
    fitting = [here for here in rename if _begins(name, here)]
    if not fitting:
        return name
    here = max(fitting, key=len)
    return rename[here].rstrip("/") + name[len(here.rstrip("/")) :]
