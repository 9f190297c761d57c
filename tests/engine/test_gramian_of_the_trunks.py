"""Every trunk of the library under the engine: each route, and both places.

Heads are stacked, representations may be dense or of several arrays, and parameters
are float64, so that the routes must agree to rounding.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from models.trunk_cases import CASES

from mtl_jax import engine, losses, models, objective, tasks, train, weighting

TRUNKS = [n for n in CASES if n not in ("mlp", "cnn_mean", "vision_transformer_mean")]
FAST = {"xla_backend_optimization_level": 0}  # to compile; nothing here runs long


def by_trace(gramian, state, **_):
    """Weights that depend on the Gramian, and no solver to compile."""
    return jnp.diag(gramian) / jnp.trace(gramian), state


ROUTES = ("materialise", "auto", "ghost")
NAMES = ("a", "b", "c", "other")


def per_example(outputs, labels):
    values = ((outputs - labels) ** 2).reshape(outputs.shape[0], -1).mean(1)
    return values, jnp.ones_like(values)


def anything(*_, **__):
    """No check: outputs and labels of any shape."""


SQUARE = losses.Loss("square", per_example, anything, anything)
TASKS = [tasks.Task(name, SQUARE) for name in NAMES]


class Problem:
    """A trunk with three heads that are alike and one that is not."""

    def __init__(self, case):
        rng = np.random.default_rng(0)
        heads = {name: models.Head(2, reads=case.reads) for name in NAMES[:3]}
        heads["other"] = models.Head(2, (8,), reads=case.reads)
        self.model = models.from_linen(models.HardSharing(case.trunk, heads))
        self.inputs = jax.tree.map(wide, case.inputs)
        start = jax.eval_shape(self.model.init, jax.random.key(0), self.inputs)
        self.variables = jax.tree.map(drawn, start)
        outputs = jax.eval_shape(self.model.apply, *self.variables, self.inputs)[0]
        labels = {n: rng.normal(size=out.shape) for n, out in outputs.items()}
        self.batch = {"inputs": self.inputs, "labels": labels}

    def losses(self, shared):
        """Each task's loss, from the outputs of the model."""
        _, specific, collections = self.variables
        outputs, _ = self.model.apply(
            shared, specific, collections, self.inputs, train=True, key=KEY
        )
        labels = self.batch["labels"]
        return jnp.stack([jnp.mean((outputs[n] - labels[n]) ** 2) for n in NAMES])

    def head_losses(self, z):
        _, specific, (_, own) = self.variables
        outputs, _ = self.model.decode(specific, own, dict.fromkeys(NAMES, z))
        labels = self.batch["labels"]
        return jnp.stack([jnp.mean((outputs[n] - labels[n]) ** 2) for n in NAMES])

    def encode(self, shared):
        trunk = self.variables.collections[0]
        return self.model.encode(shared, trunk, self.inputs, train=True, key=KEY)[0]


KEY = jax.random.key(5)


def drawn(leaf):
    rng = np.random.default_rng(int(np.prod(leaf.shape)))
    return 0.4 * rng.normal(size=leaf.shape)


def wide(leaf):
    leaf = jnp.asarray(leaf)
    floating = jnp.issubdtype(leaf.dtype, jnp.floating)
    return leaf.astype(jnp.float64) if floating else leaf


def rows(jacobian):
    """The Jacobian `[T, P]`."""
    leaves = jax.tree.leaves(jacobian)
    return np.concatenate([np.reshape(leaf, (len(NAMES), -1)) for leaf in leaves], 1)


@pytest.mark.parametrize("name", TRUNKS)
def test_routes_and_places_agree(name):
    with jax.enable_x64(True):
        problem = Problem(CASES[name])
        mgda = weighting.make("mgda")
        quick = mgda._replace(update=by_trace)
        split = train.step.bind(
            objective.make_losses(problem.model, TASKS),
            problem.batch,
            key=KEY,
            collections=problem.variables.collections,
            axis_name=None,
        )
        assert split.stacked is not None

        @functools.partial(jax.jit, compiler_options=FAST)
        def everything(shared, specific):
            def gradients(method, **how):
                start = method.init(len(NAMES))
                return engine.gradients(method, split, shared, specific, start, **how)

            found = [gradients(quick, gramian=route) for route in ROUTES]
            found.append(gradients(mgda, at="representation"))
            by_hand = jax.jacrev(problem.losses)(shared)
            at_z = jax.jacrev(problem.head_losses)(problem.encode(shared))
            return [out._replace(collections=()) for out in found], by_hand, at_z

        *found, by_hand, at_z = everything(*problem.variables[:2])
        *at_parameters, at_representation = found[0]
        jacobian, cotangents = rows(by_hand), rows(at_z)
        gramians = [jacobian @ jacobian.T] * len(ROUTES)
        gramians.append(cotangents @ cotangents.T)
        outs = [*at_parameters, at_representation]
        places = [*ROUTES, "representation"]
        for place, out, gramian in zip(places, outs, gramians, strict=True):
            norms = np.sqrt(np.diag(gramian))
            error = np.abs(out.gramian - gramian) / np.outer(norms, norms)
            assert np.max(error) < 1e-10, place
            leaves = jax.tree.leaves(out.shared)
            direction = np.concatenate([np.ravel(leaf) for leaf in leaves])
            expected = np.asarray(out.weights) @ jacobian
            error = np.abs(direction - expected).max() / norms.max()
            assert error < 1e-10, place
            assert 0.99 < np.sum(out.weights) < 1.01 and np.all(out.finite)
