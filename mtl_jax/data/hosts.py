"""The part of a batch that one of several processes reads."""

import numpy as np


def host_part(
    rows: np.ndarray, host: int | None = None, num_hosts: int | None = None
) -> np.ndarray:
    """The examples of a batch that are of one host: its block of the batch.

    The order of the examples is a pure function of seed and step, so that every host
    knows the whole batch, reads its part, and nothing is sent between them. Blocks are
    in the order of the processes, as the rows of a global array over their devices are.
    Where tasks have their own examples, these are spread over the batch, so that each
    host has some of all.

    Args:
        rows: `[B, ...]`: `order.indices(step)`, or any array of the batch.
        host: default: `jax.process_index()`.
        num_hosts: default: `jax.process_count()`.

    Returns:
        `[B / num_hosts, ...]`.

    Raises:
        ValueError: a batch that cannot be divided, or a host that there is not.

    Example:
        >>> from mtl_jax.data import Batches
        >>> rows = Batches(10, 4, seed=0, shuffle=False).indices(1)
        >>> [host_part(rows, host, 2).tolist() for host in (0, 1)]
        [[4, 5], [6, 7]]
    """
    if host is None or num_hosts is None:
        import jax

        host = jax.process_index() if host is None else host
        num_hosts = jax.process_count() if num_hosts is None else num_hosts
    if num_hosts < 1 or not 0 <= host < num_hosts:
        raise ValueError(
            f"host {host} of {num_hosts}: hosts count from 0 to one less than their "
            "number"
        )
    if len(rows) % num_hosts:
        raise ValueError(
            f"a batch of {len(rows)} examples cannot be divided over {num_hosts} "
            f"hosts. Set batch_size to a multiple of {num_hosts}"
        )
    size = len(rows) // num_hosts
    return rows[host * size : (host + 1) * size]
