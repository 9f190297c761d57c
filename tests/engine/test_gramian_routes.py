"""Every route to the Gramian gives the Gramian of the gradients, on every trunk."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from engine.trunks import TRUNKS, Halves

from mtl_jax import engine
from mtl_jax.engine.gramian import products
from mtl_jax.engine.gramian.layers import take_apart
from mtl_jax.weighting import base, make, restrict

T, B = 4, 6
ROUTES = engine.ROUTES


def by_gramian(**fields):
    """A method whose weights depend on every entry of the Gramian."""

    def update(gramian, state, **_):
        return jnp.sum(gramian, 1) / jnp.trace(gramian), state

    return base.GramianWeighting(base.no_state, update, **fields)


class Problem:
    """A trunk with T linear heads, its parameters and its batch."""

    def __init__(self, trunk, dtype):
        rng = np.random.default_rng(0)
        self.net, self.dtype = trunk(), dtype
        self.x = jnp.asarray(rng.normal(size=(B, 8, 8, 3)), dtype)
        self.y = jnp.asarray(rng.normal(size=(T, B)), dtype)
        keys = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
        variables = dict(jax.jit(self.net.init, static_argnums=2)(keys, self.x, True))
        variables = jax.tree.map(lambda a: a.astype(dtype), variables)
        self.shared, self.rest = variables.pop("params"), variables
        self.specific = [jnp.asarray(rng.normal(size=5), dtype) for _ in range(T)]

    def encode(self, shared):
        out, changed = self.net.apply(
            {"params": shared, **self.rest},
            self.x,
            True,
            mutable=list(self.rest),
            rngs={"dropout": jax.random.key(3)},
        )
        out = out.astype(self.dtype)
        return engine.Encoded(out.mean(1) if out.ndim == 3 else out, changed)

    def losses(self, specific, zs):
        return jnp.stack(
            [jnp.mean((zs[t] @ specific[t] - self.y[t]) ** 2) for t in range(T)]
        )

    def whole(self, shared, specific):
        return self.losses(specific, (self.encode(shared).representation,) * T)

    @property
    def split(self):
        return engine.SplitLosses(self.encode, self.losses, T)

    def jacobian(self):
        """One backward pass a task, `[T, P]` float64."""

        def one(shared, t):
            return self.whole(shared, self.specific)[t]

        step = jax.jit(jax.grad(one))
        rows = [step(self.shared, jnp.int32(t)) for t in range(T)]
        return np.stack(
            [
                np.concatenate([np.ravel(a) for a in jax.tree.leaves(row)])
                for row in rows
            ]
        ).astype(np.float64)


def check(problem, loss_fn, runs, tolerance, method=None):
    """Gramian, weights and direction of `runs`, pairs (route, chunk)."""
    method = by_gramian() if method is None else method

    @jax.jit
    def all_routes(shared, specific):
        return [
            engine.gradients(
                method, loss_fn, shared, specific, (), gramian=route, task_chunk=chunk
            )
            for route, chunk in runs
        ]

    jacobian = problem.jacobian()
    gramian = jacobian @ jacobian.T
    norms = np.sqrt(np.diag(gramian))
    direction = (gramian.sum(1) / np.trace(gramian)) @ jacobian
    size = np.linalg.norm(norms) * np.linalg.norm(gramian.sum(1)) / np.trace(gramian)
    outs = all_routes(problem.shared, problem.specific)
    for run, out in zip(runs, outs, strict=True):
        error = np.abs(np.asarray(out.gramian, np.float64) - gramian)
        assert np.max(error / np.outer(norms, norms)) < tolerance, run
        leaves = [np.ravel(a) for a in jax.tree.leaves(out.shared)]
        error = np.abs(np.concatenate(leaves) - direction)
        assert np.max(error) < 3 * tolerance * size, run
    return outs


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("trunk", TRUNKS.values(), ids=TRUNKS)
def test_all_routes_agree(trunk, dtype):
    with jax.enable_x64(dtype == "float64"):
        problem = Problem(trunk, dtype)
        runs = [(route, None) for route in ROUTES]
        tolerance = 1e-12 if dtype == "float64" else 1e-5
        check(problem, problem.split, runs, tolerance)


@pytest.mark.parametrize("form", ["split", "whole"])
def test_chunks_of_tasks_and_both_forms(form):
    problem = Problem(TRUNKS["shared"], "float32")
    runs = [(route, 3) for route in ROUTES]
    check(problem, getattr(problem, form), runs, 1e-5)


def test_bfloat16_layers_agree_to_their_rounding():
    problem = Problem(Halves, "float32")
    outs = check(problem, problem.split, [(route, None) for route in ROUTES], 0.02)
    # The statistics are float32: products of rounded factors are not rounded again.
    ghost, layerwise = (outs[ROUTES.index(r)].gramian for r in ("ghost", "layerwise"))
    np.testing.assert_allclose(ghost, layerwise, rtol=1e-5)


LAYERS = {
    # trunk: (kinds of the layers, by the end of their path; what is loose, if no bias)
    "convolutions": {
        "Conv_0/kernel": "conv",
        "Conv_1/kernel": "conv",
        "Conv_2/kernel": "conv",
        "Conv_3/kernel": "conv",
        "ConvTranspose_0/kernel": "conv",
        "Dense_0/kernel": "dot",
    },
    "shared": {
        "Dense_0/kernel": "dot",
        "Dense_1/kernel": "dot",
        "Embed_1/embedding": "rows",
    },
    "rematerialised": {
        "CheckpointDense_0/kernel": "dot",
        "CheckpointDense_1/kernel": "dot",
        "JitDense_0/kernel": "dot",
    },
    "scanned": {"Dense_0/kernel": "dot"},
    "unknown": {},
}


@pytest.mark.parametrize("name", LAYERS)
def test_which_layers_are_taken_apart(name):
    problem = Problem(TRUNKS[name], "float32")

    def encode(shared, others):
        encoded = problem.encode(shared)
        return encoded.representation, encoded.collections

    layered = take_apart(encode, problem.shared, ())
    flat = jax.tree_util.tree_flatten_with_path(problem.shared)[0]
    paths = [jax.tree_util.keystr(p, simple=True, separator="/") for p, _ in flat]
    found = {paths[layer.param]: layer.kind for layer in layered.layers}
    assert found == LAYERS[name]
    assert set(found) | {paths[i] for i in layered.loose} == set(paths)


def test_the_gradients_of_a_layer_are_never_made():
    """The compiled program holds no array of T weight gradients."""
    wide, tasks = 300, 12
    shared = {"w": jnp.ones((wide, wide)) / wide, "v": jnp.ones((wide, wide)) / wide}
    x = jnp.ones((5, wide))

    def losses(shared, specific):
        z = jnp.tanh(jnp.tanh(x @ shared["w"]) @ shared["v"])
        return jnp.mean((z @ specific) ** 2, 0)

    def memory(route):
        def step(shared, specific):
            out = engine.gradients(
                by_gramian(), losses, shared, specific, (), gramian=route
            )
            return out.shared

        lowered = jax.jit(step).lower(shared, jnp.ones((wide, tasks)))
        return lowered.compile().memory_analysis().temp_size_in_bytes

    one_gradient = 4 * 2 * wide**2
    assert memory("materialise") > tasks * one_gradient
    assert memory("ghost") < 3 * one_gradient
    assert memory("auto") < 3 * one_gradient
    assert memory("jacobian_free") < 6 * one_gradient


def test_cost_model_takes_the_ghost_where_sites_are_few():
    few = products.Size(blocks=1, sites=64, fan_in=768, fan_out=512)
    many = few._replace(sites=4096, fan_in=27)

    def operations(way, size):
        return products.cost(way, "dot", size, 40, 1).operations

    assert operations("ghost", few) < operations("layerwise", few) / 5
    assert operations("ghost", many) > operations("layerwise", many) * 5


@pytest.mark.parametrize("route", ROUTES)
def test_a_part_of_the_parameters(route):
    problem = Problem(TRUNKS["shared"], "float32")
    method = restrict(by_gramian(), "Dense_0|Embed_1")

    @jax.jit
    def step(shared):
        return engine.gradients(
            method, problem.split, shared, problem.specific, (), gramian=route
        )

    @jax.jit
    def jacobian(shared):
        whole = jax.jacrev(lambda s: problem.whole(s, problem.specific))(shared)
        return method.where(whole)

    rows = jacobian(problem.shared)
    flat = np.concatenate([np.reshape(a, (T, -1)) for a in rows.values()], 1)
    np.testing.assert_allclose(
        step(problem.shared).gramian, flat @ flat.T, rtol=1e-4, atol=1e-6
    )


def test_a_part_that_is_no_selection_of_leaves():
    problem = Problem(TRUNKS["shared"], "float32")

    def first_columns(task_grads):
        return {"half": task_grads["Dense_0"]["kernel"][:, :, :2]}

    @jax.jit
    def both(shared):
        return [
            engine.gradients(
                restrict(by_gramian(), first_columns),
                problem.split,
                shared,
                problem.specific,
                (),
                gramian=route,
            ).gramian
            for route in ("auto", "materialise")
        ]

    auto, materialised = both(problem.shared)
    np.testing.assert_allclose(auto, materialised, rtol=1e-6)


def test_two_samples():
    """The rows are of the one sample and the columns of the other."""
    first, second = (Problem(TRUNKS["shared"], "float32") for _ in range(2))
    second.x, second.y = second.x[::-1] * 0.5, second.y + 1
    method = by_gramian(num_samples=2)
    expected = first.jacobian() @ second.jacobian().T

    @jax.jit
    def all_routes(shared):
        return [
            engine.gradients(
                method,
                [first.split, second.split],
                shared,
                first.specific,
                (),
                gramian=route,
            ).gramian
            for route in ROUTES
        ]

    for route, found in zip(ROUTES, all_routes(first.shared), strict=True):
        np.testing.assert_allclose(
            found,
            expected,
            rtol=1e-4,
            atol=1e-5 * np.abs(expected).max(),
            err_msg=route,
        )


class Synchronised(nn.Module):
    """Layers of every kind and a BatchNorm over the devices."""

    axis_name: str | None

    @nn.compact
    def __call__(self, x):
        ids = (x[:, :3, 0, 0] * 3).astype(jnp.int32) % 6
        x = nn.Conv(4, (3, 3), strides=2)(x)
        x = nn.BatchNorm(use_running_average=False, axis_name=self.axis_name)(x)
        x = nn.tanh(x).reshape(x.shape[0], -1)
        return nn.Dense(5)(x) + nn.Embed(6, 5)(ids).sum(1) + nn.Embed(99, 5)(ids[:, 0])


def test_over_devices():
    """The Gramian of the means, with the sites of all devices, by every route."""
    devices = jax.local_devices()[:4]
    rng = np.random.default_rng(1)
    x = jnp.asarray(rng.normal(size=(8, 8, 8, 3)), jnp.float32)
    y = jnp.asarray(rng.normal(size=(8, T)), jnp.float32)
    shared = Synchronised(None).init(jax.random.key(0), x)["params"]
    specific = jnp.asarray(rng.normal(size=(T, 5)), jnp.float32)

    def step(shared, specific, x, y, axis_name):
        def losses(shared, specific):
            net = Synchronised(axis_name)
            z, _ = net.apply({"params": shared}, x, mutable=["batch_stats"])
            errors = (z @ specific.T - y) ** 2
            return engine.TaskLosses(errors.sum(0), jnp.full(T, float(len(x))))

        return [
            engine.gradients(
                by_gramian(),
                losses,
                shared,
                specific,
                (),
                gramian=route,
                axis_name=axis_name,
            )
            for route in ROUTES
        ]

    alone = jax.jit(lambda *a: step(*a, None))(shared, specific, x, y)
    parts = [a.reshape(4, 2, *a.shape[1:]) for a in (x, y)]
    mapped = jax.pmap(
        lambda *a: step(*a, "data"),
        axis_name="data",
        in_axes=(None, None, 0, 0),
        devices=devices,
    )
    together = mapped(shared, specific, *parts)
    for route, one, many in zip(ROUTES, alone, together, strict=True):
        scale = float(jnp.max(one.gramian))
        for device in range(4):
            np.testing.assert_allclose(
                many.gramian[device], one.gramian, atol=2e-5 * scale, err_msg=route
            )
        for a, b in zip(
            jax.tree.leaves(one.shared), jax.tree.leaves(many.shared), strict=True
        ):
            np.testing.assert_allclose(
                a, b[0], atol=1e-4 * float(jnp.max(jnp.abs(a))) + 1e-5, err_msg=route
            )


def test_lookups_out_of_bounds_have_no_gradient():
    table = jnp.arange(12.0).reshape(4, 3)

    def losses(table, specific):
        kept = jnp.take(table, jnp.array([0, 7, 3, 3]), axis=0, mode="clip")
        gone = table.at[jnp.array([1, 9])].get(mode="fill", fill_value=0.0)
        rows = jnp.concatenate([kept, gone])
        return jnp.stack([jnp.sum(rows**2), jnp.sum(rows[:, 0])])

    jacobian = jax.jacrev(lambda table: losses(table, ()))(table).reshape(2, -1)

    @jax.jit
    def all_routes(table):
        return [
            engine.gradients(by_gramian(), losses, table, (), (), gramian=route).gramian
            for route in ROUTES
        ]

    for gramian in all_routes(table):
        np.testing.assert_allclose(gramian, jacobian @ jacobian.T, rtol=1e-6)


def test_unknown_route_and_chunk():
    losses = Problem(TRUNKS["scanned"], "float32").whole
    with pytest.raises(ValueError, match=r"'gohst'. Did you mean 'ghost'"):
        engine.gradients(make("mgda"), losses, {}, {}, (), gramian="gohst")
    with pytest.raises(ValueError, match=r"task_chunk is 0; .* 1 or more"):
        engine.gradients(make("mgda"), losses, {}, {}, (), task_chunk=0)


def test_a_model_without_forward_derivative():
    @jax.custom_vjp
    def double(x):
        return 2 * x

    double.defvjp(lambda x: (2 * x, None), lambda _, g: (2 * g,))

    def losses(shared, specific):
        return jnp.stack([jnp.sum(double(shared)), jnp.sum(double(shared) ** 2)])

    args = (by_gramian(), losses, jnp.ones(3), (), ())
    np.testing.assert_allclose(engine.gradients(*args).gramian[0, 0], 12.0)
    with pytest.raises(TypeError, match=r"forward mode.*custom_vjp.*gramian='auto'"):
        engine.gradients(*args, gramian="jacobian_free")


@pytest.mark.parametrize("offset", [0.0, 30.0])
def test_inputs_with_a_large_mean(offset):
    """Cotangents that cancel over the batch do not cost the ghost its digits."""
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(64, 48)) + offset).astype(np.float32)
    d = rng.normal(size=(T, 64, 16)).astype(np.float32)
    d -= d.mean(1, keepdims=True)
    rows = np.einsum("ni,tno->tio", x, d, dtype=np.float64).reshape(T, -1)
    gramian = rows @ rows.T
    norms = np.sqrt(np.diag(gramian))

    def losses(w, specific):
        return jnp.einsum("tno,no->t", d, jnp.matmul(x, w, precision="highest"))

    for route in ("ghost", "layerwise"):
        out = jax.jit(
            lambda w, route=route: engine.gradients(
                by_gramian(), losses, w, (), (), gramian=route
            )
        )(jnp.ones((48, 16)))
        error = np.abs(np.asarray(out.gramian, np.float64) - gramian)
        assert np.max(error / np.outer(norms, norms)) < 5e-6, route
