"""Together, hosts read what one would read alone."""

import numpy as np
import pytest

from mtl_jax import data


@pytest.mark.parametrize("groups", [(), (13, 27)])
def test_the_parts_of_all_hosts_are_the_batch(groups):
    source = data.ArraySource(np.eye(40), {"a": np.arange(40)}, groups=groups)
    order = data.order(source, 8, seed=3)
    for step in (0, 7):
        rows = order.indices(step)
        parts = [data.host_part(rows, host, 4) for host in range(4)]
        np.testing.assert_array_equal(np.concatenate(parts), rows)
        if groups:  # each host has examples of both tasks
            assert all(0 < np.sum(part < 13) < 2 for part in parts)


def test_evaluation_sees_every_example_once_over_all_hosts():
    source = data.ArraySource(np.eye(11), {"a": np.arange(11)})
    seen = []
    for host in range(2):
        for batch in data.evaluation_batches(source, 4, host=host, num_hosts=2):
            assert batch["valid"].shape == (2,)
            seen += batch["labels"]["a"][batch["valid"]].tolist()
    assert sorted(seen) == list(range(11))


def test_one_process_reads_all():
    rows = np.arange(6)
    np.testing.assert_array_equal(data.host_part(rows), rows)


@pytest.mark.parametrize(
    ("host", "count", "text"),
    [
        (0, 4, "a batch of 6 examples cannot be divided over 4 hosts"),
        (2, 2, "host 2 of 2: hosts count from 0"),
    ],
)
def test_what_cannot_be_divided(host, count, text):
    with pytest.raises(ValueError, match=text):
        data.host_part(np.arange(6), host, count)
    source = data.ArraySource(np.eye(6), {"a": np.arange(6)})
    with pytest.raises(ValueError, match=text):
        data.evaluation_batches(source, 6, host=host, num_hosts=count)
