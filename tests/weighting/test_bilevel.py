"""The contract of the bilevel methods, and their mathematics against float64."""

import functools
import itertools
from typing import Any, NamedTuple

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from method_table import BILEVEL
from scipy.optimize import minimize

from mtl_jax import checkpoint, engine, train, weighting
from mtl_jax.solvers import constrained_min_norm, min_norm, precision
from mtl_jax.weighting import base
from mtl_jax.weighting.bilevel import hypergradient, weights

T = 3
OPTIMIZERS = {
    "sgd": lambda: optax.sgd(0.1),
    "momentum": lambda: optax.chain(
        optax.add_decayed_weights(0.05), optax.sgd(0.1, momentum=0.9)
    ),
    "adamw": lambda: optax.adamw(
        optax.linear_schedule(0.1, 0.01, 10), weight_decay=0.1
    ),
    "clipped": lambda: optax.chain(optax.clip_by_global_norm(0.5), optax.adam(0.1)),
}
TUNED = {
    "auto_lambda": {"w_init": 0.2, "w_lr": 0.01, "inner_lr": 0.1},
    "moml": {"w_lr": 0.01, "inner_lr": 0.1},
    "forum": {"rho": 5.0, "inner_lr": 0.01, "w_lr": 0.01},
}
VARIANTS = {
    **{name: (name, {}) for name in BILEVEL},
    "auto_lambda, softmax": ("auto_lambda", {"weights": "softmax", "primary": [0]}),
    "moml, two inner steps": ("moml", {"num_inner": 2}),
    "auto_lambda, differences": (
        "auto_lambda",
        {"hypergradient": "finite_difference"},
    ),
}
variants = pytest.mark.parametrize("variant", VARIANTS)


def make(variant):
    name, hyper = VARIANTS[variant]
    return weighting.make(name, **hyper)


class Data(NamedTuple):
    """A training and a validation batch of T tasks."""

    train: Any
    validation: Any


def batch(seed, t=T, size=16, features=4, present=None, dead=None):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(size, features))
    if dead is not None:
        x[:, dead] = 0
    truth = np.random.default_rng(99).normal(size=(features, 9))
    y = (np.tanh(x @ truth) + 0.1 * rng.normal(size=(size, 9)))[:, :t]
    keep = np.ones(t, bool) if present is None else np.asarray(present)
    return {
        "x": jnp.asarray(x, weights_dtype()),
        "y": jnp.asarray(y, weights_dtype()),
        "count": jnp.asarray(size * keep, weights_dtype()),
    }


def weights_dtype():
    return jnp.zeros(()).dtype


def losses_fn(shared, specific, batch):
    """A trunk of tanh units, one linear head a task."""
    z = jnp.tanh(batch["x"].astype(shared.dtype) @ shared)
    out = jnp.stack([z @ head for head in specific], axis=1)
    error = (out - batch["y"].astype(out.dtype)) ** 2
    keep = batch["count"] > 0
    return engine.TaskLosses(jnp.where(keep, jnp.sum(error, 0), 0), batch["count"])


def params_of(t=T, seed=0, dtype=None, features=4, units=5):
    rng = np.random.default_rng(seed)
    shared = jnp.asarray(rng.normal(size=(features, units)) / 2, dtype)
    return shared, [jnp.asarray(rng.normal(size=units) / 2, dtype) for _ in range(t)]


def slopes(data, params, optimizer, state, w, rows, **options):
    """Hyper-gradients, in one compiled program, and the validation losses."""

    @jax.jit
    def compute(data, params, state, w):
        found = []

        def update(problem, state, **extra):
            found.append(hypergradient.hypergradients(problem, w, rows, **options))
            return problem.params, w, state

        spy = base.BilevelWeighting(base.no_state, update)
        run(spy, data, params, optimizer, state, base.EmptyState())
        return found[0]

    return compute(data, params, state, w)


def jit_run(method, optimizer):
    """`run`, compiled."""
    return jax.jit(
        lambda data, params, state, method_state, epoch=None: run(
            method, data, params, optimizer, state, method_state, epoch=epoch
        )
    )


def run(method, data, params, optimizer, state, method_state, **extra):
    """One look of a method: gradients, weights, state."""
    return engine.bilevel_gradients(
        method,
        lambda shared, specific: losses_fn(shared, specific, data.train),
        lambda shared, specific: losses_fn(shared, specific, data.validation),
        *params,
        method_state,
        optimizer=state,
        descend=lambda *args: train.compiled.descend(optimizer, *args),
        key=jax.random.key(0),
        **extra,
    )


def warm(optimizer, params, steps=3, dead=None):
    """Parameters and a state of the optimizer in mid-training."""
    data = batch(7, t=len(params[1]), dead=dead)

    @jax.jit
    def step(params, state):
        grads = jax.grad(lambda p: jnp.sum(losses_fn(*p, data).sums) / 16)(params)
        return train.compiled.descend(optimizer, params, grads, state, jnp.array(0.0))

    state = optimizer.init(params)
    for _ in range(steps):
        params, state = step(params, state)
    return params, state


def data_of(seed=0, t=T, present=None, seen=None, dead=None):
    return Data(
        batch(seed, t, present=present, dead=dead),
        batch(seed + 100, t, 8, present=seen, dead=dead),
    )


def describe(tree):
    return [
        (leaf.shape, leaf.dtype, getattr(leaf, "weak_type", False))
        for leaf in jax.tree.leaves(tree)
    ], jax.tree.structure(tree)


# ---- the hyper-gradient


def after_steps(w, data, params, optimizer, state, num_inner):
    """The validation losses after the steps, written from the definition."""

    def mean(p, part):
        out = losses_fn(*p, part)
        return out.sums / out.counts

    for _ in range(num_inner):
        grads = jax.grad(lambda p: jnp.sum(w * mean(p, data.train)))(params)
        updates, state = optimizer.update(grads, state, params)
        params = optax.apply_updates(params, updates)
    return mean(params, data.validation)


@pytest.mark.parametrize("num_inner", [1, 2])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_exact_hypergradients_are_the_central_differences(name, num_inner):
    """With a dead input, where the root of Adam's second moment has no derivative."""
    with jax.enable_x64(True):
        optimizer, data = OPTIMIZERS[name](), data_of(dead=1)
        params, state = warm(optimizer, params_of(), dead=1)
        w, options = jnp.array([0.3, 0.5, 1.1]), {"num_inner": num_inner}
        arguments = (data, params, optimizer, state)
        found, losses = slopes(*arguments, w, jnp.eye(T), **options)
        moves = 1e-5 * jnp.concatenate([jnp.zeros((1, T)), jnp.eye(T), -jnp.eye(T)])
        around = jax.jit(jax.vmap(lambda m: after_steps(w + m, *arguments, num_inner)))(
            moves
        )
        np.testing.assert_allclose(losses, around[0], rtol=1e-12)
        expected = np.asarray(around[1 : T + 1] - around[T + 1 :]).T / 2e-5
        assert np.abs(expected).min() > 1e-7, "this must mean something"
        scale = np.abs(expected).max()
        np.testing.assert_allclose(found, expected, atol=1e-8 * scale, rtol=1e-6)


@pytest.mark.parametrize("name", ["momentum", "adamw"])
def test_finite_differences_are_close_to_exact(name):
    optimizer, data = OPTIMIZERS[name](), data_of()
    params, state = warm(optimizer, params_of())
    w, rows = jnp.array([0.3, 0.5, 1.1]), jnp.array([[1.0, 1, 1], [0, 1, 0]])
    arguments = (data, params, optimizer, state, w, rows)
    exact, _ = slopes(*arguments)
    close, _ = slopes(*arguments, form="finite_difference")
    far, _ = slopes(*arguments, form="finite_difference", epsilon=1.0)
    np.testing.assert_allclose(close, exact, rtol=1e-2, atol=1e-3 * np.abs(exact).max())
    assert not np.array_equal(close, exact)
    assert np.abs(far - exact).max() > 3 * np.abs(close - exact).max()


def test_finite_differences_of_gradient_descent_are_those_of_the_authors():
    """`−α (L_t(θ + ε d) − L_t(θ − ε d)) / 2 ε`, d = ∇L_val(θ'), ε = 0.01 / ‖d‖."""
    with jax.enable_x64(True):
        optimizer, data = optax.sgd(0.1), data_of()
        params, w = params_of(), jnp.array([0.3, 0.5, 1.1])
        arguments = (data, params, optimizer, optimizer.init(params), w)
        found, _ = slopes(*arguments, jnp.ones((1, T)), form="finite_difference")

        def mean(p, part):
            out = losses_fn(*p, part)
            return out.sums / out.counts

        def add(p, step, direction):
            return jax.tree.map(lambda a, b: a + step * b, p, direction)

        @jax.jit
        def authors(w):
            grads = jax.grad(lambda p: jnp.sum(w * mean(p, data.train)))(params)
            moved = add(params, -0.1, grads)
            d = jax.grad(lambda p: jnp.sum(mean(p, data.validation)))(moved)
            eps = 0.01 / jnp.linalg.norm(jax.flatten_util.ravel_pytree(d)[0])
            up = mean(add(params, eps, d), data.train)
            down = mean(add(params, -eps, d), data.train)
            return -0.1 * (up - down) / (2 * eps)

        np.testing.assert_allclose(found[0], authors(w), rtol=1e-8)


def test_the_first_step_of_adam_and_no_gradient_at_all_make_no_nan():
    optimizer, data = OPTIMIZERS["clipped"](), data_of(dead=1)
    params = params_of()
    arguments = (params, optimizer, optimizer.init(params), jnp.ones(T), jnp.eye(T))
    found, _ = slopes(data, *arguments, num_inner=2)
    assert np.all(np.isfinite(found))
    still = data._replace(train={**data.train, "count": jnp.zeros(T)})
    found, _ = slopes(still, *arguments, num_inner=2)
    np.testing.assert_array_equal(found, 0)
    # But a validation loss that is not finite is not hidden.
    data.validation["y"] = data.validation["y"].at[0, 1].set(jnp.inf)
    found, _ = slopes(data, *arguments, num_inner=2)
    assert np.all(np.isnan(found[1]))


# ---- what each method does with it


def simplex(logits):
    e = np.exp(logits - logits.max())
    return e / e.sum()


@pytest.mark.parametrize("form", ["raw", "softmax"])
def test_auto_lambda_is_adam_on_the_hypergradient(form):
    with jax.enable_x64(True):
        optimizer, data = OPTIMIZERS["momentum"](), data_of()
        params, state = warm(optimizer, params_of())
        method = weighting.make("auto_lambda", primary=[0, 2], w_lr=0.01, weights=form)
        out = jit_run(method, optimizer)(data, params, state, method.init(T))

        @jax.jit
        @jax.grad
        def slope(raw):
            w = jax.nn.softmax(raw) if form == "softmax" else raw
            return jnp.sum(
                after_steps(w, data, params, optimizer, state, 1)[jnp.array([0, 2])]
            )

        raw = jnp.full(T, 0.1)
        adam = optax.adam(0.01)
        updates, _ = adam.update(slope(raw), adam.init(raw), raw)
        raw = optax.apply_updates(raw, updates)
        w = jax.nn.softmax(raw) if form == "softmax" else raw
        np.testing.assert_allclose(out.weights, w, rtol=1e-7)
        grads = jax.grad(lambda p: jnp.sum(w * losses_fn(*p, data.train).sums) / 16)(
            params
        )
        for a, b in zip(
            jax.tree.leaves((out.shared, out.specific)),
            jax.tree.leaves(grads),
            strict=True,
        ):
            np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("normalize", ["none", "loss"])
def test_moml_descends_the_min_norm_combination(normalize):
    with jax.enable_x64(True):
        optimizer, data = optax.sgd(0.1), data_of()
        params = params_of()
        state = optimizer.init(params)
        plain = optax.sgd(1.0)
        method = weighting.make(
            "moml", normalize=normalize, num_inner=2, optimizer=plain
        )
        out = jit_run(method, optimizer)(data, params, state, method.init(T))

        @jax.jit
        def ahead(logits):
            w = jax.nn.softmax(logits)
            return after_steps(w, data, params, optimizer, state, 2)

        rows = np.asarray(jax.jit(jax.jacobian(ahead))(jnp.zeros(T)))
        losses = np.asarray(ahead(jnp.zeros(T)))
        c = {
            "none": np.ones(T),
            "l2": np.linalg.norm(rows, axis=1),
            "loss": losses,
        }[normalize]
        unit = rows / c[:, None] / np.abs(rows / c[:, None]).max()
        best = minimize(
            lambda a: np.sum((a @ unit) ** 2),
            np.full(T, 1 / T),
            bounds=[(0, 1)] * T,
            constraints={"type": "eq", "fun": lambda a: a.sum() - 1},
            options={"ftol": 1e-15, "maxiter": 500},
        ).x
        step = -best @ rows
        np.testing.assert_allclose(
            out.state.logits, step, atol=1e-5 * np.abs(rows).max()
        )
        if normalize == "none":
            assert np.all(rows @ step <= 1e-5 * np.abs(rows).max() ** 2), "all fall"
        np.testing.assert_allclose(out.weights, simplex(step), rtol=1e-6)


def dual_by_enumeration(gramian, slope):
    """All supports of the dual problem; the best that is feasible."""
    t = len(gramian) - 1
    best = (np.inf, None)
    for pattern in itertools.product([False, True], repeat=t + 1):
        kept = np.flatnonzero(pattern)
        if not any(pattern[:t]):
            continue
        e = (kept < t).astype(float)
        push = np.where(kept == t, slope, 0)
        matrix = np.block(
            [[gramian[np.ix_(kept, kept)], e[:, None]], [e[None], np.zeros((1, 1))]]
        )
        target = np.append(push, 1)
        solution = np.linalg.lstsq(matrix, target, rcond=1e-13)[0]
        x = np.zeros(t + 1)
        x[kept] = solution[:-1]
        if np.abs(matrix @ solution - target).max() > 1e-8 or x.min() < -1e-10:
            continue
        best = min(best, (0.5 * x @ gramian @ x - x[t] * slope, tuple(x)))
    return best[0], np.array(best[1])


SOLVE = jax.jit(precision.in_float64(constrained_min_norm.constrained_min_norm))


def test_the_dual_problem_is_solved_exactly():
    rng = np.random.default_rng(0)
    for trial in range(100):
        t, p = 1 + trial % 4, rng.integers(1, 9)
        rows = rng.normal(size=(t + 1, p))
        kind = trial % 6
        if kind == 1:
            rows[t] *= 1e-3
        elif kind == 2 and t > 1:
            rows[t] = rows[0] - rows[1]
        elif kind == 3:
            rows[t] = -rows[0]
        elif kind == 4:
            rows[:t] *= 10.0 ** rng.uniform(-2, 2, (t, 1))
        elif kind == 5:
            rows[0] = 0
        gramian = rows @ rows.T
        slope = rng.choice([0.0, 0.1, 1.0]) * gramian[t, t]
        value, x = dual_by_enumeration(gramian, slope)
        whole = np.zeros((5, 5))  # the last of the four objectives may be absent
        places = [*range(t), 4]
        whole[np.ix_(places, places)] = gramian
        with jax.enable_x64(True):
            found = SOLVE(jnp.asarray(whole), jnp.asarray(slope), jnp.arange(4) < t)
            y = np.append(found.weights, found.multiplier)
        assert bool(found.converged), (trial, kind)
        np.testing.assert_array_equal(y[t:4], 0)
        y = y[places]
        at_y = 0.5 * y @ gramian @ y - y[t] * slope
        scale = max(abs(value), gramian[:t, :t].max(), 1e-300)
        assert abs(at_y - value) < 1e-10 * scale, (trial, kind)
        longest = np.linalg.norm(rows, axis=1).max()
        np.testing.assert_allclose(rows.T @ y, rows.T @ x, atol=1e-6 * longest)


def test_the_dual_problem_without_its_constraint_is_the_min_norm_point():
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(5, 8))
    rows[4] = 0
    with jax.enable_x64(True):
        gramian, zero = jnp.asarray(rows @ rows.T), jnp.asarray(0.0)
        found = SOLVE(gramian, zero, jnp.ones(4, bool))
        expected = jax.jit(min_norm.min_norm_point)(gramian[:4, :4]).x
        np.testing.assert_allclose(found.weights, expected, atol=1e-9)
        assert found.multiplier == 0
        nobody = SOLVE(gramian, zero, jnp.zeros(4, bool))
        np.testing.assert_array_equal(nobody.weights, 0)
        assert bool(nobody.converged)


@pytest.mark.parametrize("normalize", ["l2", "none"])
def test_forum_is_its_definition(normalize):
    rho, eta, inner = 0.3, 0.05, 4
    with jax.enable_x64(True):
        optimizer, data = optax.sgd(0.1), data_of()
        params = params_of()
        method = weighting.make(
            "forum",
            rho=rho,
            inner_lr=eta,
            num_inner=inner,
            normalize=normalize,
            optimizer=optax.sgd(1.0),
        )
        start = method.init(T)._replace(
            logits=jnp.array([0.3, -0.2, 0.1]), duals=jnp.array([0.5, 0.2, 0.3])
        )
        state = optimizer.init(params)
        out = jit_run(method, optimizer)(data, params, state, start, jnp.int32(2))
        flat, unravel = jax.flatten_util.ravel_pytree(params)

        def mean(flat, part):
            result = losses_fn(*unravel(flat), part)
            return result.sums / result.counts

        def f(logits, flat):
            return jnp.sum(jax.nn.softmax(logits) * mean(flat, data.train))

        slope = jax.jit(jax.grad(f, (0, 1)))
        low = flat
        for _ in range(inner):
            low = low - eta * slope(start.logits, low)[1]
        assert f(start.logits, low) < f(start.logits, flat)
        here = slope(start.logits, flat)
        q = np.append(here[0] - slope(start.logits, low)[0], here[1])
        rows = jax.jit(jax.jacobian(lambda p: mean(p, data.validation)))(flat)
        rows = np.asarray(rows)
        if normalize == "l2":
            rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        rows = np.concatenate([np.zeros((T, T)), rows], axis=1)
        whole = np.concatenate([rows, q[None]])
        square = q @ q
        _, x = dual_by_enumeration(whole @ whole.T, rho * square)
        duals = start.duals + 3**-0.75 * (x[:T] - start.duals)
        nu = max(0.0, float(duals @ (rho - rows @ q / square)))
        direction = duals @ rows + nu * q
        np.testing.assert_allclose(out.state.duals, duals, atol=1e-6)
        np.testing.assert_allclose(
            out.state.logits, start.logits - direction[:T], atol=1e-6
        )
        found = jax.flatten_util.ravel_pytree((out.shared, out.specific))[0]
        np.testing.assert_allclose(found, direction[T:], atol=1e-5)
        np.testing.assert_allclose(
            out.weights, jax.nn.softmax(out.state.logits), rtol=1e-9
        )


def test_forum_lets_no_inner_step_make_it_worse():
    data, params, optimizer = data_of(), params_of(), optax.sgd(0.1)
    method = weighting.make("forum", inner_lr=1e6, optimizer=optax.sgd(1.0))
    state = optimizer.init(params)
    out = jit_run(method, optimizer)(data, params, state, method.init(T))
    assert bool(out.finite)
    np.testing.assert_array_equal(out.state.logits, 0)  # q does not depend on α here


# ---- the contract


def one_step(method, optimizer):
    """Parameters, the optimizer and the method after one step on plain arrays."""

    def update(problem, state, **extra):
        return method.update(problem, state, nonsense=3, **extra)

    def step(data, params, state, method_state, epoch):
        out = run(
            method._replace(update=update),
            data,
            params,
            optimizer,
            state,
            method_state,
            epoch=epoch,
        )
        params, state = train.compiled.descend(
            optimizer, params, (out.shared, out.specific), state, jnp.array(0.0)
        )
        return params, state, out

    return step


class Run:
    """Steps of a variant, compiled once for all tests."""

    def __init__(self, variant, t=T, dtype=None):
        self.method, self.optimizer = make(variant), optax.adam(0.01)
        self.step = jax.jit(one_step(self.method, self.optimizer))
        self.t, self.dtype = t, dtype

    def steps(self, number, first=0, at=None, **options):
        """`(params, optimizer, method)` after some steps, and the last one's look."""
        params = params_of(self.t, dtype=self.dtype)
        at = at or (params, self.optimizer.init(params), self.method.init(self.t))
        for i in range(first, first + number):
            data = data_of(i, self.t, **options)
            params, state, out = self.step(data, *at, jnp.int32(i // 4))
            at = (params, state, out.state)
            assert bool(out.finite)
        return at, out


@functools.cache
def compiled(variant, t=T):
    return Run(variant, t)


@variants
def test_state_is_stable_and_sixty_steps_compile_once(variant):
    run = compiled(variant)
    first = describe(run.method.init(T))
    assert not any(weak for _, _, weak in first[0]), "give dtypes in init"
    before = run.step._cache_size()
    at, early = run.steps(1)
    at, late = run.steps(59, 1, at)
    assert describe(at[2]) == first
    assert late.weights.dtype == jnp.float32
    assert run.step._cache_size() <= before + 1 <= 2
    assert not np.array_equal(early.weights, late.weights)


@pytest.mark.parametrize("name", BILEVEL)
def test_vmap_over_seeds_and_hyper_parameters_equals_a_loop(name):
    optimizer = optax.sgd(0.1)
    params, state = warm(optimizer, params_of())
    names = sorted(TUNED[name])
    hints = weighting.METHODS[name].__annotations__
    numbers = {k for k, v in hints.items() if v in (float, float | None)}
    # How far apart the differences are changes the last digits alone.
    assert numbers - {"epsilon"} == set(names)

    @jax.jit
    def last(values, data):
        method = weighting.make(name, **dict(zip(names, values, strict=True)))

        def step(at, data):
            p, s, out = one_step(method, optimizer)(data, *at, jnp.int32(0))
            return (p, s, out.state), jnp.concatenate([out.weights, p[0].ravel()])

        return jax.lax.scan(step, (params, state, method.init(T)), data)[1][-1]

    def two_steps(seed):
        data = [data_of(seed), data_of(seed + 1)]
        # All tasks are measured by the labels of the first: they agree on the weights.
        for part in data:
            part.validation["y"] = (
                part.validation["y"].at[:].set(part.validation["y"][:, :1])
            )
        return jax.tree.map(lambda *a: jnp.stack(a), *data)

    values = jnp.array([TUNED[name][n] for n in names], jnp.float32)
    rows = jnp.stack([values, values, *(values * (1 + jnp.eye(len(names))))])
    data = [two_steps(0 if i == 0 else 5) for i in range(len(rows))]
    stacked = jax.tree.map(lambda *a: jnp.stack(a), *data)
    swept = jax.vmap(last)(rows, stacked)
    for row, part, one in zip(rows, data, swept, strict=True):
        np.testing.assert_allclose(one, last(row, part), rtol=1e-3, atol=1e-4)
    for which, one in zip(["the seed", *names], [swept[0], *swept[2:]], strict=True):
        assert not np.allclose(one, swept[1], rtol=1e-7), f"{which} has no effect"


@pytest.mark.parametrize("variant", BILEVEL)
def test_checkpoint_round_trip_in_mid_sequence(variant, tmp_path):
    run = compiled(variant)
    (params, state, method_state), _ = run.steps(3)
    with checkpoint.Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(3, method_state, meta={})
        restored = checkpoints.restore(run.method.init(T)).state
    a = run.steps(1, 3, (params, state, method_state))
    b = run.steps(1, 3, (params, state, restored))
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(x, y)


@variants
def test_an_absent_task_is_left_out(variant):
    """Its weight is zero, its memory stays, the others do as if it were not there."""
    wide, narrow = compiled(variant), compiled(variant, T - 1)
    mask = np.arange(T) < T - 1
    at = alone_at = None
    for i in range(3):
        at, out = wide.steps(1, i, at, present=mask, seen=mask)
        alone_at, alone = narrow.steps(1, i, alone_at)
        assert out.weights[-1] == 0
        np.testing.assert_allclose(out.losses[:-1], alone.losses, rtol=1e-4)
        np.testing.assert_allclose(out.weights[:-1], alone.weights, rtol=2e-4)
        np.testing.assert_allclose(at[0][0], alone_at[0][0], rtol=1e-3, atol=1e-4)
    first = wide.method.init(T)
    for a, b in zip(jax.tree.leaves(at[2]), jax.tree.leaves(first), strict=True):
        if a.shape == (T,):
            np.testing.assert_array_equal(a[-1], b[-1])


@variants
def test_labels_in_one_of_the_two_batches_only(variant):
    run = compiled(variant)
    first = run.method.init(T)
    here, nowhere = np.array([True, True, False]), np.zeros(T, bool)
    for present, seen in ((here, ~here), (None, nowhere), (nowhere, None)):
        (_, _, state), out = run.steps(1, present=present, seen=seen)
        assert all(np.all(np.isfinite(x)) for x in jax.tree.leaves(state))
        if present is not None:
            np.testing.assert_array_equal(out.weights[~present], 0)
        if seen is nowhere or present is nowhere:  # nothing was learnt of the weights
            pairs = zip(
                jax.tree.leaves(state[:2]), jax.tree.leaves(first[:2]), strict=True
            )
            assert all(np.array_equal(a, b) for a, b in pairs)
        if present is nowhere and "forum" not in variant:
            np.testing.assert_array_equal(out.shared, 0)


@pytest.mark.parametrize(
    ("variant", "t"), [*((name, 1) for name in BILEVEL), ("forum", 9)]
)
def test_any_number_of_tasks(variant, t):
    _, out = compiled(variant, t).steps(2)
    assert np.any(out.shared != 0)
    if t == 1 and variant != "auto_lambda":
        np.testing.assert_allclose(out.weights, 1)


@pytest.mark.parametrize("variant", BILEVEL)
def test_bfloat16_parameters(variant):
    (params, _, _), out = Run(variant, dtype=jnp.bfloat16).steps(5)
    assert out.shared.dtype == params[0].dtype == jnp.bfloat16
    assert out.weights.dtype == jnp.float32


@pytest.mark.parametrize("variant", BILEVEL)
def test_never_nan(variant):
    """Zero, equal and opposite gradients, and losses of any scale."""
    method, optimizer = make(variant), optax.adam(0.01)
    rows = {
        "zero": np.zeros((T, 3)),
        "one zero": np.array([[1.0, 2, 3], [0, 0, 0], [1, -1, 1]]),
        "equal": np.ones((T, 3)),
        "opposite": np.array([[1.0, 2, 3], [-1, -2, -3], [2, 4, 6]]),
        "uneven": np.diag([1e-6, 1.0, 1e6]),
    }

    @jax.jit
    def step(matrix, scale, params, state, method_state):
        def losses(shared, specific):
            return jax.nn.softplus(matrix @ shared + scale)

        def descend(*arguments):
            return train.compiled.descend(optimizer, *arguments)

        out = engine.bilevel_gradients(
            method,
            losses,
            losses,
            *params,
            method_state,
            optimizer=state,
            descend=descend,
        )
        grads = (out.shared, {})
        return (*descend(params, grads, state, jnp.array(0.0)), out)

    for scale, (what, matrix) in itertools.product((1e-6, 1.0, 1e6), rows.items()):
        params = (jnp.ones(3), {})
        state, method_state = optimizer.init(params), method.init(T)
        matrix = jnp.asarray(scale * matrix, jnp.float32)
        for _ in range(2):
            params, state, out = step(
                matrix, jnp.float32(scale), params, state, method_state
            )
            method_state = out.state
            assert bool(out.finite), (what, scale)
            kept = jax.tree.leaves((out.state, out.weights))
            assert all(np.all(np.isfinite(x)) for x in kept), (what, scale)


def test_the_softmax_of_one_task_has_no_slope():
    keep = jnp.array([True, False])
    jacobian = jax.jacobian(lambda x: weights.simplex(x, keep))(jnp.array([3.0, 1.0]))
    np.testing.assert_array_equal(jacobian, 0)
    jacobian = jax.jacobian(lambda x: weights.simplex(x, ~keep & keep))(jnp.ones(2))
    np.testing.assert_array_equal(jacobian, 0)
    x = jnp.array([0.3, -2.0, 1.5])
    whole = jnp.ones(3, bool)
    np.testing.assert_allclose(
        jax.jacobian(lambda x: weights.simplex(x, whole))(x),
        jax.jacobian(jax.nn.softmax)(x),
        rtol=1e-5,
        atol=1e-7,
    )


# ---- errors


@pytest.mark.parametrize(
    ("name", "hyper", "text"),
    [
        ("auto_lambda", {"weights": "sofmax"}, "Did you mean 'softmax'"),
        ("auto_lambda", {"hypergradient": "exactly"}, "Did you mean 'exact'"),
        ("auto_lambda", {"epsilon": 0.0}, "epsilon=0.0; it must be a number, above 0"),
        ("auto_lambda", {"w_lr": -1.0}, "at least 0"),
        (
            "moml",
            {"num_inner": 0},
            "num_inner=0; it must be a whole number, at least 1",
        ),
        (
            "moml",
            {"num_inner": 2, "hypergradient": "finite_difference"},
            "a formula of one step",
        ),
        ("moml", {"normalize": "l3"}, "unknown normaliser of mgda"),
        ("moml", {"inner_lr": 0.0}, "inner_lr=0.0"),
        ("forum", {"rho": -0.1}, "rho=-0.1"),
        ("forum", {"normalize": "loss"}, "unknown normaliser of forum"),
    ],
)
def test_wrong_hyper_parameters(name, hyper, text):
    with pytest.raises(ValueError, match=text):
        weighting.make(name, **hyper)


@pytest.mark.parametrize("primary", [[3], [-1], [], 0, [0.5]])
def test_primary_tasks_that_are_not_there(primary):
    method = weighting.make("auto_lambda", primary=primary)
    with pytest.raises(ValueError, match="whole numbers from 0 to 2"):
        method.init(3)


@pytest.mark.parametrize("name", BILEVEL)
def test_a_matrix_is_not_enough(name):
    with pytest.raises(TypeError, match="make_bilevel_step"):
        weighting.aggregate(weighting.make(name), jnp.eye(2))


def test_they_are_all_here():
    kinds = {n: weighting.make(n) for n in BILEVEL}
    assert all(isinstance(m, base.BilevelWeighting) for m in kinds.values())
