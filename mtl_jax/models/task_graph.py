"""Which tasks read which others."""

from collections.abc import Mapping, Sequence
from typing import Any

from mtl_jax.errors import unknown_name


def neighbours(tasks: Sequence[str], graph: Any) -> dict[str, tuple[str, ...]]:
    """The neighbours of every task, in the order of the tasks.

    Args:
        tasks: their names.
        graph: `{task: [the tasks that it reads]}`, where tasks without an entry read
            none; or pairs of tasks that read each other.

    Raises:
        ValueError: neither of the two, a task that there is not, one that is its own
            neighbour, or no neighbours at all.

    Example:
        >>> neighbours("abc", [("a", "c")])
        {'a': ('c',), 'b': (), 'c': ('a',)}
        >>> neighbours("abc", {"a": ["c", "b"]})
        {'a': ('b', 'c'), 'b': (), 'c': ()}
    """
    found: dict[str, set[str]] = {task: set() for task in tasks}
    for reader, read in _edges(graph):
        for task in (reader, read):
            if task not in found:
                raise unknown_name("task of the graph", task, found)
        if reader == read:
            raise ValueError(
                f"the graph of tasks has {reader!r} as a neighbour of itself. Leave "
                "that out: every task reads its own features"
            )
        found[reader].add(read)
    if not any(found.values()):
        raise ValueError(
            f"the graph {graph!r} of the tasks {list(tasks)} has no neighbours. Give "
            "pairs of tasks, or use hard sharing"
        )
    return {t: tuple(o for o in tasks if o in read) for t, read in found.items()}


def both_ways(graph: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """The graph in which who reads is also read.

    Example:
        >>> both_ways({"a": ("c",), "b": (), "c": ()})
        {'a': ('c',), 'b': (), 'c': ('a',)}
    """
    return {
        task: tuple(o for o in graph if o in read or task in graph[o])
        for task, read in graph.items()
    }


def _edges(graph: Any) -> list[tuple[str, str]]:
    """`(who reads, what is read)`."""
    if isinstance(graph, Mapping) and not any(
        isinstance(v, str) for v in graph.values()
    ):
        return [(task, other) for task, read in graph.items() for other in read]
    pairs = [] if isinstance(graph, Mapping | str) else list(graph)
    if not pairs or any(isinstance(p, str) or len(p) != 2 for p in pairs):
        raise ValueError(
            "a graph of tasks is a mapping {task: [neighbours]} or a list of pairs of "
            f"tasks; found {graph!r}"
        )
    return [edge for a, b in pairs for edge in ((a, b), (b, a))]
