"""Training steps in JAX: the library's, a hand-written one, and the floor."""

from collections.abc import Callable
from typing import Any, NamedTuple

import bench_problem
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from mtl_jax import objective, parallel, train, weighting
from mtl_jax.engine.convolutions import fast_in_loops

LEARNING_RATE = 1e-3
GRAMIAN_OPTIONS = ("at", "gramian", "task_chunk")


class Cost(NamedTuple):
    """What XLA says of a compiled program."""

    flops: float  # of one pass through every loop
    temporary: int  # bytes


class LibraryStep:
    """`make_train_step` on a problem; call it for a step."""

    def __init__(
        self,
        problem: bench_problem.Problem,
        method: Any,
        optimizer: optax.GradientTransformation | None = None,
        **options: Any,
    ) -> None:
        optimizer = optax.adam(LEARNING_RATE) if optimizer is None else optimizer
        bilevel = isinstance(method, weighting.BilevelWeighting)
        make = train.make_bilevel_step if bilevel else train.make_train_step
        if bilevel:  # it takes no Gramian
            options = {k: v for k, v in options.items() if k not in GRAMIAN_OPTIONS}
        options = {"parallel": "jit", "steps_per_epoch": 100, **options}
        self.step = make(problem.losses_fn, method, optimizer, **options)
        self.state = train.create(
            problem.variables.shared,
            problem.variables.specific,
            method=method,
            optimizer=optimizer,
            num_tasks=problem.num_tasks,
            collections=problem.variables.collections,
        )
        packed = jax.device_put(objective.pack(jax.device_get(problem.batch)))
        self.batch = dict(packed)
        if bilevel:
            self.batch["validation"] = packed
        self.devices = len(options.get("devices") or [0])

    def __call__(self) -> Any:
        """One step; returns what is to be waited for."""
        self.state, output = self.step(self.state, self.batch)
        return self.state.shared, output

    def compiled(self) -> Any:
        """The compiled program, to be looked at."""
        batch = self.batch
        if self.devices > 1:
            batch = parallel.split_batch(batch, self.devices)
        return program(self.step).lower(self.state, batch).compile()

    def cost(self) -> Cost:
        """Of the compiled step."""
        return cost_of(self.compiled())


def program(step: Callable[..., Any]) -> Any:
    """The jitted function inside a step, which can be lowered and looked at."""
    waiting: list[Any] = [step]
    while waiting:
        function = waiting.pop(0)
        if hasattr(function, "lower"):
            return function
        cells = [cell.cell_contents for cell in function.__closure__ or ()]
        waiting += [c for c in cells if hasattr(c, "lower")]
        waiting += [c for c in cells if hasattr(c, "__closure__")]
    raise LookupError("no jitted function in this step")


def cost_of(compiled: Any) -> Cost:
    """FLOPs and temporary memory of a compiled program."""
    analysis, memory = compiled.cost_analysis(), compiled.memory_analysis()
    return Cost(float(analysis["flops"]), int(memory.temp_size_in_bytes))


def gramian_and_direction(
    problem: bench_problem.Problem, method: Any, **options: Any
) -> tuple[np.ndarray | None, Any]:
    """What one step of the library finds, from its state before and after.

    Returns:
        The Gramian `[T, T]`, None for a method without one, and the direction like the
        shared parameters.
    """
    rate = 2.0**16  # the rounding of the parameters does not matter beside it
    step = LibraryStep(problem, method, optax.sgd(rate), **options)
    shared, output = step()
    before = problem.variables.shared
    direction = jax.tree.map(
        lambda a, b: (np.asarray(a, float) - np.asarray(b, float)) / rate,
        before,
        shared,
    )
    gramian = None if output.gramian is None else np.asarray(output.gramian, float)
    return gramian, direction


class Bare:
    """One backward pass of the sum of the losses, by hand: no library, one matrix."""

    def __init__(self, problem: bench_problem.Problem, num_tasks: int) -> None:
        kernel, bias = bench_problem.head_weights(problem)
        labels = list(problem.batch["labels"].values())[:num_tasks]
        self.batch = (problem.batch["inputs"], jnp.stack(labels))
        optimizer = optax.adam(LEARNING_RATE)
        trunk = trunk_of(problem)

        def loss(params: Any, batch: Any, collections: Any) -> tuple[Any, Any]:
            inputs, labels = batch
            shared, heads = params
            z, collections = trunk(shared, collections, inputs)
            logits = z @ heads["kernel"] + heads["bias"]
            losses = optax.sigmoid_binary_cross_entropy(logits.T, labels).mean(1)
            return losses.sum(), (losses, collections)

        def step(params: Any, moments: Any, collections: Any, batch: Any) -> Any:
            look = jax.value_and_grad(loss, has_aux=True)
            (_, (losses, collections)), grads = look(params, batch, collections)
            updates, moments = optimizer.update(grads, moments, params)
            params = optax.apply_updates(params, updates)
            return params, moments, collections, losses

        heads = {"kernel": kernel[:, :num_tasks], "bias": bias[:num_tasks]}
        params = (problem.variables.shared["trunk"], heads)
        params = jax.tree.map(lambda a: jnp.array(a, copy=True), params)
        collections = jax.tree.map(jnp.copy, trunk_collections(problem))
        self.state = (params, optimizer.init(params), collections)
        self.step = jax.jit(step, donate_argnums=(0, 1, 2))

    def __call__(self) -> Any:
        """One step; returns what is to be waited for."""
        *state, losses = self.step(*self.state, self.batch)
        self.state = tuple(state)
        return self.state[0], losses

    def cost(self) -> Cost:
        """Of the compiled step."""
        return cost_of(self.step.lower(*self.state, self.batch).compile())


class Floor(NamedTuple):
    """One forward pass and T backward passes of the trunk, one after the other.

    What reverse mode costs at least, where the gradients are made one by one and no
    more is done with each than to take its length, so that XLA cannot leave it out.
    """

    run: Callable[[], Any]
    flops: float


def floor(problem: bench_problem.Problem) -> Floor:
    """Compile the floor of a problem."""
    trunk, inputs = trunk_of(problem), problem.batch["inputs"]
    shared = problem.variables.shared["trunk"]
    collections, t = trunk_collections(problem), problem.num_tasks

    def forward(shared: Any, inputs: Any) -> Any:
        return trunk(shared, collections, inputs)[0]

    def all_tasks(shared: Any, inputs: Any, cotangents: Any) -> Any:
        z, back = jax.vjp(lambda p: forward(p, inputs), shared)

        def one(cotangent: Any) -> Any:
            return optax.tree.norm(back(cotangent)[0])

        return z, jax.lax.map(fast_in_loops(one), cotangents)

    one = jax.jit(forward).lower(shared, inputs).compile()
    z = one(shared, inputs)
    random = np.random.default_rng(0).normal(size=(t, *z.shape))
    cotangents = jnp.asarray(random, z.dtype)
    every = jax.jit(all_tasks).lower(shared, inputs, cotangents).compile()
    before = cost_of(one).flops
    # XLA counts a loop as one pass through it.
    flops = before + t * (cost_of(every).flops - before)
    return Floor(lambda: every(shared, inputs, cotangents), flops)


def trunk_of(problem: bench_problem.Problem) -> Callable[..., tuple[Any, Any]]:
    """`(params, collections, inputs) -> (representation, collections)`, by Linen."""
    module: nn.Module = problem.trunk
    keywords = {"train": True} if trunk_collections(problem) else {}

    def apply(params: Any, collections: Any, inputs: Any) -> tuple[Any, Any]:
        variables = {"params": params, **collections}
        if not collections:
            return module.apply(variables, inputs, **keywords), collections
        return module.apply(variables, inputs, **keywords, mutable=list(collections))

    return apply


def trunk_collections(problem: bench_problem.Problem) -> Any:
    """The trunk's own mutable state, by collection; `{}` without any."""
    trunk = (problem.variables.collections or ((), ()))[0]
    return {name: value["trunk"] for name, value in dict(trunk or {}).items()}
