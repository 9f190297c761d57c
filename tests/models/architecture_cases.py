"""A small instance of every architecture, on one batch that all of them read."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from mtl_jax import models, objective, tasks, train
from mtl_jax.engine.losses import whole_function

B, D = 8, 5
RNG = np.random.default_rng(0)
X = RNG.normal(size=(B, D)).astype(np.float32)
KEY = jax.random.key(3)
"""Of the models' own noise."""
CHAIN = ("view", "click", "buy")
TASKS = tuple(tasks.binary(name) for name in CHAIN)
_TAKEN = np.cumprod(RNG.uniform(size=(3, B)) < [[0.9], [0.8], [0.7]], axis=0)
LABELS = {name: taken.astype(np.int32) for name, taken in zip(CHAIN, _TAKEN, strict=1)}
BATCH = {"inputs": X, "labels": LABELS}


def heads(width=None):
    """A tower a task, all alike."""

    def tower():
        layers = [] if width is None else [nn.Dense(width), nn.tanh]
        return nn.Sequential([*layers, nn.Dense(1)])

    return {name: tower() for name in CHAIN}


def trunk():
    return models.MLP((6,), activation=nn.tanh)


GRAPH = {"click": ["view"], "buy": ["view"]}
"""Two tasks read the first, and no one reads them."""


def staged(trunk):
    """Two stages, or the last of them."""
    last = models.MLP((4,), activation=nn.tanh)
    return [last] if trunk is None else [trunk, last]


CASES = {
    "mmoe": lambda trunk: models.MMoE(trunk, heads(3), 4, (7, 4)),
    "cgc": lambda trunk: models.CGC(trunk, heads(3), 2, 3, (4,)),
    "ple": lambda trunk: models.PLE(trunk, heads(3), 2, 1, (6,), num_layers=3),
    "ple_two": lambda trunk: models.PLE(trunk, heads(), 1, 2, (7, 6)),
    "dselect_k": lambda trunk: models.DSelectK(
        trunk, heads(), 3, (5,), per_example=True, gamma=3.0, entropy=0.1
    ),
    "dselect_k_static": lambda trunk: models.DSelectK(
        trunk, heads(), 4, (5,), num_selected=3, gamma=0.5, entropy=0.1
    ),
    "esmm": lambda trunk: models.ESMM(trunk, heads(4)),
    "aitm": lambda trunk: models.AITM(trunk, heads(), (5, 4), calibration=0.5),
    "cross_stitch": lambda trunk: models.CrossStitch(staged(trunk), heads(3), own=0.8),
    "learning_to_branch": lambda trunk: models.LearningToBranch(
        staged(trunk), heads(3), (2, 3), temperature=2.0
    ),
    "sub_network": lambda trunk: models.SubNetworkRouting(
        trunk, heads(3), (2, 3), (4,), sparsity=0.1
    ),
    "sub_network_aver": lambda trunk: models.SubNetworkRouting(
        trunk, heads(3), (2, 3), (4, 4), "aver", sparsity=0.1
    ),
    "mtan": lambda trunk: models.MTAN(staged(trunk), heads(3)),
    "sluice": lambda trunk: models.Sluice(
        [models.MLP((4,), activation=nn.tanh), *staged(trunk)[-1:]],
        heads(3),
        own=0.8,
        orthogonality=0.1,
    ),
    "aitm_plain": lambda trunk: models.AITM(trunk, heads(), (4,), calibration=0.0),
    "soft_sharing": lambda trunk: models.SoftSharing(trunk, heads(3), strength=0.1),
    "trace_norm": lambda trunk: models.SoftSharing(
        trunk, heads(), "trace_norm", strength=0.1
    ),
    "concatenation": lambda trunk: models.LateFusion(trunk, heads(3)),
    "weighted_sum": lambda trunk: models.LateFusion(trunk, heads(), "weighted_sum"),
    "average": lambda trunk: models.LateFusion(trunk, heads(), "average"),
    "adversarial": lambda trunk: models.SharedPrivate(trunk, heads(3), 0.3, 0.2, (4,)),
    "film": lambda trunk: models.FiLM(trunk, heads(3), 2),
    "film_layers": lambda trunk: models.FiLM(trunk, heads(), 2, (4, 3)),
    "attention": lambda trunk: models.TaskAttention(
        trunk, heads(3), tower_features=(5, 4)
    ),
    "local_attention": lambda trunk: models.TaskAttention(
        trunk, heads(), "local", GRAPH, (4,)
    ),
    "two_way_attention": lambda trunk: models.TaskAttention(
        trunk, heads(), "bidirectional", {"view": ["buy"]}, (4,)
    ),
    "domain_adversarial": lambda trunk: models.DomainAdversarial(
        trunk, heads(3), "view", 0.5
    ),
    "shared_private": lambda trunk: models.SharedPrivate(trunk, heads(), 0.0, 0.2),
}
"""By name, a function of the trunk or None."""

_CHAIN = "the tower of a step is part of the losses of all later steps"
WITHOUT_REPRESENTATION = {
    "esmm": _CHAIN,
    "aitm": _CHAIN,
    "aitm_plain": _CHAIN,
    "adversarial": "the private trunks read the inputs, beside what is shared",
    "film": "what makes scales and shifts of the tasks' own embeddings is shared",
    "soft_sharing": "what ties the trunks is a penalty on their parameters",
}
"""And why."""


@functools.cache
def start(name, below=True, **options):
    """`(net, model, variables)`, with parameters that leave nothing at zero."""
    net = CASES[name](trunk() if below else None)
    model = models.from_linen(net, **options)
    variables = jax.jit(model.init)(jax.random.key(0), X)
    return net, model, noisy(variables)


def noisy(variables, seed=9):
    """Variables with biases that are not 0 and gates that are not even.

    With this seed, each step of AITM is likelier than the one before it in half of the
    examples, so that the calibrator has a gradient.
    """
    leaves, treedef = jax.tree.flatten(variables)
    rng = np.random.default_rng(seed)
    return jax.tree.unflatten(
        treedef,
        [a + 0.3 * rng.normal(size=a.shape).astype(np.float32) for a in leaves],
    )


def bound(model, variables, batch=BATCH, task_list=TASKS):
    """The losses as the engine gets them."""
    return train.step.bind(
        objective.make_losses(model, task_list),
        batch,
        key=KEY,
        collections=variables.collections,
        axis_name=None,
    )


def jacobian(model, variables):
    """The losses `[T]` and their derivatives: trees like the parameters, `[T, ...]`."""

    def losses(shared, specific):
        out = whole_function(bound(model, variables))(shared, specific)
        return out.sums / out.counts

    params = variables.shared, variables.specific
    return losses(*params), jax.jacrev(losses, argnums=(0, 1))(*params)


def flat(tree):
    """`[T, P]` of leaves `[T, ...]`."""
    leaves = [np.asarray(a, np.float64) for a in jax.tree.leaves(tree)]
    return np.concatenate([a.reshape(a.shape[0], -1) for a in leaves], axis=1)


def named_params(net, seed=2):
    """Parameters of a Linen module, of size 1, as float64 dictionaries."""
    variables = jax.jit(net.init)(jax.random.key(0), jnp.asarray(X))
    return jax.tree.map(np.float64, noisy(variables, seed)["params"])
