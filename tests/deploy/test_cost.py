"""Parameters and FLOPs by hand."""

import flax.linen as nn
import jax
import numpy as np

from mtl_jax import deploy, models, tasks
from mtl_jax.deploy import cost

EXAMPLE = jax.ShapeDtypeStruct((1, 6), "float32")
PAIR = (tasks.binary("first"), tasks.binary("second"))


def by_name(rows):
    return {row.name: row for row in rows}


def test_a_convolution_and_two_heads():
    """As the layers are: a multiplication and an addition a weight."""

    class Trunk(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.Conv(4, (3, 3), padding="VALID")(x)  # [B, 6, 6, 4]
            return x.reshape(len(x), -1)

    # A task may have the name of the first row.
    heads = {"shared": nn.Dense(3), "b": nn.Dense(1)}
    model = models.from_linen(models.HardSharing(Trunk(), heads))
    task_list = (tasks.classification("shared", 3), tasks.binary("b"))
    rows = deploy.costs(model, task_list, jax.ShapeDtypeStruct((1, 8, 8, 2), "float32"))
    assert [row.name for row in rows] == ["shared", "shared", "b", "all"]
    places = 6 * 6
    conv = 3 * 3 * 2 * 4
    assert rows[0][1:] == (conv + 4, 4 * (conv + 4), places * (2 * conv + 4))
    width = places * 4
    assert rows[1][1:] == (3 * width + 3, 12 * (width + 1), 3 * (2 * width + 1))
    assert rows[2].parameters == width + 1
    total = sum(row.flops for row in rows[:-1])
    assert (rows[-1].name, rows[-1].flops) == ("all", total)


def test_without_a_representation_a_row_is_what_leaving_it_out_saves():
    net = models.AITM(models.MLP((4,)), {t.name: nn.Dense(1) for t in PAIR}, (3,))
    model = models.from_linen(net)
    found = by_name(deploy.costs(model, PAIR, EXAMPLE))
    variables = jax.eval_shape(model.init, jax.random.key(0), EXAMPLE)
    size = sum(int(np.prod(a.shape)) for a in jax.tree.leaves(variables.specific))
    # The second task reads the tower of the first, which is shared for that reason.
    assert found["first"].parameters + found["second"].parameters == size
    assert 0 < found["first"].flops < found["second"].flops
    assert "training only" not in found


def test_what_no_output_reads_is_of_the_training():
    class Decoding(nn.Module):
        shared_names = ("trunk",)

        @nn.compact
        def __call__(self, x, train=False):
            z = nn.Dense(4, name="trunk")(x)
            nn.Dense(6, name="decoder")(z)
            return {t.name: nn.Dense(1, name=t.name)(z) for t in PAIR}

    found = by_name(deploy.costs(models.from_linen(Decoding()), PAIR, EXAMPLE))
    assert found["training only"].parameters == 4 * 6 + 6
    assert found["first"].parameters == found["second"].parameters == 5


def test_every_round_of_a_loop_counts():
    def looped(x, w):
        def inner(c, _):
            return c @ w, None

        def outer(c, _):
            c, _ = jax.lax.scan(inner, c, None, length=3)
            return c @ w, None

        return jax.lax.scan(outer, x, None, length=5)[0]

    x, w = (jax.ShapeDtypeStruct(s, "float32") for s in ((1, 16), (16, 16)))
    count = cost.flops(jax.jit(looped), x, w)
    # A few additions count the rounds.
    assert 0 <= count - 5 * (3 + 1) * 2 * 16 * 16 <= 40
