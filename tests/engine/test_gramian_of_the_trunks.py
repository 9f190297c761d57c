"""Every trunk of the library under the engine: each route, and both places.

Heads are stacked, representations may be dense or of several arrays, and parameters
are float64, so that the routes must agree to rounding.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from models.trunk_cases import CASES

from mtl_jax import engine, losses, models, objective, tasks, train, weighting

ROUTES = ("materialise", "auto", "layerwise", "ghost")
NAMES = ("a", "b", "c", "other")


def per_example(outputs, labels):
    values = ((outputs - labels) ** 2).reshape(outputs.shape[0], -1).mean(1)
    return values, jnp.ones_like(values)


SQUARE = losses.Loss(
    "square", per_example, lambda *_, **__: None, lambda *_, **__: None
)
TASKS = [tasks.Task(name, SQUARE) for name in NAMES]


class Problem:
    """A trunk with three heads that are alike and one that is not."""

    def __init__(self, case):
        rng = np.random.default_rng(0)
        heads = {name: models.Head(2, reads=case.reads) for name in NAMES[:3]}
        heads["other"] = models.Head(2, (3,), reads=case.reads)
        self.model = models.from_linen(models.HardSharing(case.trunk, heads))
        self.inputs = jax.tree.map(wide, case.inputs)
        variables = jax.jit(self.model.init)(jax.random.key(0), self.inputs)
        self.variables = jax.tree.map(wide, variables)
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


def wide(leaf):
    leaf = jnp.asarray(leaf)
    floating = jnp.issubdtype(leaf.dtype, jnp.floating)
    return leaf.astype(jnp.float64) if floating else leaf


def rows(jacobian):
    """The Jacobian `[T, P]`."""
    leaves = jax.tree.leaves(jacobian)
    return np.concatenate([np.reshape(leaf, (len(NAMES), -1)) for leaf in leaves], 1)


@pytest.mark.parametrize("name", CASES)
def test_routes_and_places_agree(name):
    with jax.enable_x64(True):
        problem = Problem(CASES[name])
        method = weighting.make("mgda")
        split = train.step.bind(
            objective.make_losses(problem.model, TASKS),
            problem.batch,
            key=KEY,
            collections=problem.variables.collections,
            axis_name=None,
        )
        assert split.stacked is not None

        @jax.jit
        def everything(shared, specific):
            def gradients(**how):
                start = method.init(len(NAMES))
                return engine.gradients(method, split, shared, specific, start, **how)

            found = [gradients(gramian=route) for route in ROUTES]
            found.append(gradients(at="representation"))
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
            direction = np.concatenate(
                [np.ravel(a) for a in jax.tree.leaves(out.shared)]
            )
            expected = np.asarray(out.weights) @ jacobian
            error = np.abs(direction - expected).max() / norms.max()
            assert error < 1e-10, place
            assert 0.99 < np.sum(out.weights) < 1.01 and np.all(out.finite)
