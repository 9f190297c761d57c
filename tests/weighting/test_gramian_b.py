"""GradNorm, SDMGrad, MoDo, PCD, Krum and MetaBalance against independent solutions."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from mtl_jax import engine, weighting
from mtl_jax.weighting import shares
from mtl_jax.weighting.gramian_based.gradnorm import gradnorm
from mtl_jax.weighting.gramian_based.krum import krum
from mtl_jax.weighting.gramian_based.metabalance import metabalance
from mtl_jax.weighting.gramian_based.modo import modo
from mtl_jax.weighting.gramian_based.pcd import pcd
from mtl_jax.weighting.gramian_based.sdmgrad import sdmgrad


def one_call(factory, **static):
    """`(jacobian, dtype, keep=None, **hyper) -> (d, w, state)` of a first call. Tasks
    and columns that a problem does not have are absent, so that one compilation does
    for all problems, and for all numeric hyper-parameters."""

    @jax.jit
    def call(jacobian, mask, hyper):
        return weighting.aggregate(factory(**static, **hyper), jacobian, mask=mask)

    def run(jacobian, dtype=jnp.float32, keep=None, **hyper):
        t, p = np.shape(jacobian)
        wide, mask = np.zeros((20, 50)), np.arange(20) < t
        wide[:t, :p] = jacobian
        if keep is not None:
            mask[:t] = keep
        hyper = {name: jnp.asarray(value, dtype) for name, value in hyper.items()}
        out = call(jnp.asarray(wide, dtype), jnp.asarray(mask), hyper)
        assert not np.any(out.direction[p:])
        assert not np.any(out.weights[~mask])
        d, w = (np.asarray(x, np.float64) for x in out[:2])
        return d[:p], w[:t], out.state

    return run


EXACT = one_call(sdmgrad, solver="exact")
PCD = one_call(pcd)


def run(method, steps, dtype=jnp.float32, keep=None):
    """Weights `[K, T]` and the last state of a sequence of Jacobians and losses."""
    t = np.shape(steps[0][0])[-2]
    state, weights = method.init(t), []
    for jacobian, losses in steps:
        out = weighting.aggregate(
            method,
            jnp.asarray(jacobian, dtype),
            losses=jnp.asarray(losses, dtype),
            state=state,
            **({} if keep is None else {"mask": jnp.asarray(keep)}),
        )
        state = out.state
        weights.append(np.asarray(out.weights, np.float64))
    return np.stack(weights), state


def steps_of(rng, k, t, p):
    return [(rng.normal(size=(t, p)), rng.uniform(0.5, 2, t)) for _ in range(k)]


def project(x):
    """On the simplex, by bisection on the shift."""
    shift = optimize.brentq(
        lambda s: np.maximum(x - s, 0).sum() - 1, x.min() - 2, x.max() + 1, xtol=1e-15
    )
    return np.maximum(x - shift, 0)


# GradNorm


def test_gradnorm_descends_its_loss():
    """Against finite differences of Σ |w_t ‖g_t‖ − const|, with const held."""
    rng = np.random.default_rng(0)
    steps, lr = steps_of(rng, 6, 4, 7), 0.05
    weights, _ = run(gradnorm(alpha=0.7, lr_w=lr, where="all"), steps)
    w, first = np.ones(4), steps[0][1]
    for (jacobian, losses), used in zip(steps, weights, strict=True):
        np.testing.assert_allclose(used, w, rtol=1e-5)
        norms = np.linalg.norm(jacobian, axis=1)
        progress = losses / first
        const = (w * norms).mean() * (progress / progress.mean()) ** 0.7

        def loss(w, norms=norms, const=const):
            return np.abs(w * norms - const).sum()

        eye = 1e-7 * np.eye(4)
        slope = [(loss(w + e) - loss(w - e)) / 2e-7 for e in eye]
        w = w - lr * np.array(slope)
        w = 4 * w / w.sum()


def test_gradnorm_weights_stay_positive():
    steps = [(1e6 * np.diag([1.0, 2.0, 0.5]), np.ones(3))] * 5
    weights, state = run(gradnorm(where="all"), steps)
    assert np.all(weights > 1e-4)
    np.testing.assert_allclose(weights.sum(1), 3, rtol=1e-5)
    assert np.all(np.isfinite(state.learned))


def test_gradnorm_softmax_looks_at_epoch_0_and_moves_from_epoch_1():
    rng = np.random.default_rng(1)
    method = gradnorm(variant="libmtl_softmax", where="all")
    assert method.needs_epoch
    assert not gradnorm().needs_epoch
    state, seen = method.init(3), []
    for epoch in (0, 0, 0, 1, 1):
        jacobian, losses = rng.normal(size=(3, 5)), rng.uniform(1, 2, 3)
        out = weighting.aggregate(
            method, jacobian, losses=losses, state=state, epoch=epoch
        )
        state = out.state
        seen.append(losses if epoch == 0 else None)
        moved = not np.allclose(state.learned, 1)
        assert moved == (epoch == 1)
    mean = state.initial / state.num_initial
    np.testing.assert_allclose(mean, np.mean(seen[:3], axis=0), rtol=1e-6)


def test_gradnorm_takes_the_first_loss_that_a_task_has():
    method = gradnorm(where="all")
    state = method.init(3)
    jacobian = jnp.asarray(np.random.default_rng(2).normal(size=(3, 4)))
    for i, mask in enumerate(([1, 1, 0], [1, 0, 1], [1, 1, 1])):
        losses = jnp.array([1.0, 2.0, 3.0]) + i
        keep = jnp.array(mask, bool)
        out = weighting.aggregate(
            method, jacobian * keep[:, None], losses=losses, state=state, mask=keep
        )
        assert np.all((np.asarray(out.weights) > 0) == np.array(mask, bool))
        assert float(out.weights.sum()) == pytest.approx(sum(mask), rel=1e-6)
        if i == 1:  # task 1 is not there and keeps its weight
            assert out.state.learned[1] == state.learned[1]
        state = out.state
    assert state.initial.tolist() == [1.0, 2.0, 4.0]
    assert float(state.learned.sum()) == pytest.approx(3, rel=1e-6)


def test_gradnorm_alpha_favours_the_slow_task():
    """With gradients alike, the task whose loss fell less gains weight."""
    steps = [(np.eye(2), [1.0, 1.0])] + [(np.eye(2), [0.2, 0.9])] * 5
    weights, _ = run(gradnorm(alpha=1.5, where="all"), steps)
    assert weights[-1, 1] > weights[-1, 0] + 0.05
    weights, _ = run(gradnorm(alpha=0.0, where="all"), steps)
    np.testing.assert_allclose(weights, 1, rtol=1e-6)


def test_gradnorm_alpha_may_be_a_tracer():
    steps = [(np.eye(2), [1.0, 1.0])] + [(np.eye(2), [0.2, 0.9])] * 3

    def last(alpha):
        method = gradnorm(alpha, where="all")
        state = method.init(2)
        for _, losses in steps:
            _, state = method.update(jnp.eye(2), state, losses=jnp.asarray(losses))
        return state.learned

    swept = jax.jit(jax.vmap(last))(jnp.array([0.0, 1.5]))
    np.testing.assert_allclose(swept[0], 1, rtol=1e-6)
    np.testing.assert_allclose(swept[1], last(1.5), rtol=1e-6)
    assert swept[1, 1] > 1.05


def test_gradnorm_looks_at_the_last_layer():
    method = gradnorm()
    grads = {f"Dense_{i}": {"kernel": jnp.full((2, 3), i)} for i in (9, 10)}
    assert [leaf[0, 0] for leaf in jax.tree.leaves(method.where(grads))] == [10]
    assert gradnorm(where="all").where is None
    with pytest.raises(ValueError, match="matches none"):
        gradnorm(where="nowhere").where(grads)


def test_gradnorm_errors():
    with pytest.raises(ValueError, match="Did you mean 'libmtl_softmax'"):
        gradnorm(variant="softmax")
    with pytest.raises(ValueError, match="alpha=-1"):
        gradnorm(alpha=-1)
    with pytest.raises(ValueError, match="needs losses"):
        method = gradnorm()
        method.update(jnp.eye(2), method.init(2))


# MoDo and SDMGrad


@pytest.mark.parametrize("samples", [1, 2, 3])
def test_modo_is_projected_descent(samples):
    rng = np.random.default_rng(3)
    method = modo(gamma=0.05, rho=0.2, samples=samples)
    assert method.num_samples == samples
    shape = (samples, 4, 6) if samples > 1 else (4, 6)
    steps = [(rng.normal(size=shape), np.ones(4)) for _ in range(5)]
    found, _ = run(method, steps)
    w = np.full(4, 0.25)
    for (jacobian, _), used in zip(steps, found, strict=True):
        one, two = (jacobian[0], jacobian[1]) if samples > 1 else (jacobian, jacobian)
        w = project(w - 0.05 * (one @ two.T @ w + 0.2 * w))
        np.testing.assert_allclose(used, w, atol=1e-5)


def test_modo_applies_the_weights_to_the_last_sample():
    rng = np.random.default_rng(4)
    for samples in (2, 3):
        jacobians = jnp.asarray(rng.normal(size=(samples, 3, 5)), jnp.float32)
        out = weighting.aggregate(modo(samples=samples), jacobians)
        np.testing.assert_allclose(
            out.direction, out.weights @ jacobians[-1], rtol=1e-5, atol=1e-6
        )


def test_sdmgrad_converges_by_default_and_with_the_published_rate_does_not():
    rng = np.random.default_rng(5)
    jacobian = rng.normal(size=(5, 12))
    steps = [(jacobian, np.ones(5))] * 12
    exact, _ = run(sdmgrad(solver="exact"), steps[:1])
    found, state = run(sdmgrad(samples=1), steps)
    assert state.solver.converged
    np.testing.assert_allclose(found[-1], exact[0], atol=2e-3)
    found, state = run(sdmgrad(lr=10.0, samples=1), steps)
    assert not state.solver.converged
    assert np.abs(found[-1] - exact[0]).max() > 0.1


def test_sdmgrad_exact_is_the_minimiser():
    rng = np.random.default_rng(6)
    for t, value in itertools.product((2, 5), (0.0, 0.3, 5.0)):
        jacobian = rng.normal(size=(t, 8))
        _, found, _ = EXACT(jacobian, lambda_=value)

        def loss(w, jacobian=jacobian, t=t, value=value):
            return 0.5 * np.sum((jacobian.T @ (w + value / t)) ** 2)

        best = optimize.minimize(
            loss,
            np.full(t, 1 / t),
            bounds=[(0, 1)] * t,
            constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
            options={"ftol": 1e-14},
        ).x
        expected = (best + value / t) / (1 + value)
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_sdmgrad_takes_a_matrix_that_is_not_symmetric():
    rng = np.random.default_rng(7)
    one, two, three = rng.normal(size=(3, 4, 9))
    out = weighting.aggregate(sdmgrad(n_iter=3, lr=0.2), np.stack([one, two, three]))
    a = one @ two.T
    a /= np.mean(np.sqrt(np.maximum(np.diag(a), 0))) ** 2
    w, v = np.full(4, 0.25), 0
    for _ in range(3):
        v = 0.5 * v + a @ (w + 0.3 / 4)
        w = project(w - 0.2 * v)
    np.testing.assert_allclose(out.state.weights, w, atol=1e-5)
    np.testing.assert_allclose(
        out.direction, three.T @ (w + 0.3 / 4) / 1.3, rtol=1e-4, atol=1e-5
    )


def test_sdmgrad_and_modo_errors():
    for wrong in (0, 4, "3"):
        with pytest.raises(ValueError, match="samples"):
            modo(samples=wrong)
        with pytest.raises(ValueError, match="samples"):
            sdmgrad(samples=wrong)
    with pytest.raises(ValueError, match="symmetric"):
        sdmgrad(solver="exact", samples=3)
    with pytest.raises(ValueError, match="unknown solver of sdmgrad"):
        sdmgrad(solver="newton")
    with pytest.raises(ValueError, match="n_iter=0"):
        sdmgrad(n_iter=0)


@pytest.mark.parametrize(
    "method",
    [modo(samples=1), sdmgrad(samples=1), gradnorm(where="all")],
    ids=["modo", "sdmgrad", "gradnorm"],
)
def test_tasks_that_come_and_go_keep_their_share(method):
    """The absent keep their weight, the sum stays, the present are a problem of
    their own."""
    rng = np.random.default_rng(8)
    memory = method.init(4)
    name = "learned" if hasattr(memory, "learned") else "weights"
    total = float(getattr(memory, name).sum())
    for i in range(12):
        keep = rng.random(4) < 0.6
        jacobian, losses = rng.normal(size=(4, 6)), rng.uniform(1, 2, 4)
        out = weighting.aggregate(
            method,
            jnp.asarray(np.where(keep[:, None], jacobian, 0), jnp.float32),
            losses=jnp.asarray(np.where(keep, losses, 0), jnp.float32),
            state=memory,
            mask=jnp.asarray(keep),
        )
        old, new = (np.asarray(getattr(s, name)) for s in (memory, out.state))
        assert np.all(np.asarray(out.weights)[~keep] == 0)
        np.testing.assert_array_equal(old[~keep], new[~keep])
        assert new.sum() == pytest.approx(total, rel=1e-5)
        if keep.any() and i > 3:
            share = old[keep] / old[keep].sum() if old[keep].sum() else None
            alone = method.init(int(keep.sum()))
            scale = total * keep.sum() / 4 if name == "learned" else 1
            alone = alone._replace(**{name: jnp.asarray(share * scale, jnp.float32)})
            if name == "learned":
                alone = alone._replace(
                    initial=jnp.where(memory.num_initial > 0, memory.initial, losses)[
                        keep
                    ],
                    num_initial=jnp.ones(int(keep.sum())),
                )
            apart = weighting.aggregate(
                method,
                jnp.asarray(jacobian[keep], jnp.float32),
                losses=jnp.asarray(losses[keep], jnp.float32),
                state=alone,
            )
            np.testing.assert_allclose(
                np.asarray(out.weights)[keep], apart.weights, rtol=1e-4, atol=1e-5
            )
        memory = out.state


def test_shares_of_nothing():
    none, keep = jnp.zeros(3), jnp.array([True, True, False])
    assert shares.of_present(none, keep).tolist() == [0.5, 0.5, 0.0]
    assert shares.of_present(jnp.array([0.0, 0.0, 1.0]), keep).tolist() == [0.5, 0.5, 0]
    assert shares.of_present(jnp.ones(3), jnp.zeros(3, bool)).tolist() == [0, 0, 0]


def test_samples_go_through_the_engine():
    """Weights from the first two parts of the batch, applied to the third's."""
    rng = np.random.default_rng(9)
    parts = [jnp.asarray(rng.normal(size=(3, 4)), jnp.float32) for _ in range(3)]
    functions = [lambda shared, specific, a=a: jnp.square(a @ shared) for a in parts]
    shared = jnp.asarray(rng.normal(size=4), jnp.float32)
    method = modo()
    out = engine.gradients(method, functions, shared, {}, method.init(3))
    jacobians = jnp.stack([2 * (a @ shared)[:, None] * a for a in parts])
    expected = weighting.aggregate(method, jacobians)
    np.testing.assert_allclose(out.weights, expected.weights, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(out.shared, expected.direction, rtol=1e-4, atol=1e-4)


# PCD


def pcd_by_hand(jacobian, squares, tau, primary):
    scaled = jacobian / np.sqrt(squares)[:, None]
    rest = [j for j in range(len(jacobian)) if j != primary]
    a, g = scaled[rest], scaled[primary]
    demand = tau * np.sum(a**2, axis=1)
    found = optimize.minimize(
        lambda d: 0.5 * np.sum((d - g) ** 2),
        g,
        jac=lambda d: d - g,
        constraints={
            "type": "ineq",
            "fun": lambda d: a @ d - demand,
            "jac": lambda _: a,
        },
        options={"ftol": 1e-15, "maxiter": 500},
    )
    assert found.success
    return found.x / np.linalg.norm(found.x) * np.linalg.norm(jacobian[primary])


def test_pcd_is_the_constrained_projection_with_a_memory_of_the_norms():
    rng = np.random.default_rng(10)
    tau, beta, primary = 0.3, 0.8, 1
    method = pcd(tau, beta, primary=primary)
    state, v = method.init(4), 0
    for k in range(1, 6):
        jacobian = rng.normal(size=(4, 7)) * np.array([[1.0], [10], [0.1], [1]])
        v = beta * v + (1 - beta) * np.sum(jacobian**2, axis=1)
        expected = pcd_by_hand(jacobian, v / (1 - beta**k), tau, primary)
        out = weighting.aggregate(
            method, jnp.asarray(jacobian, jnp.float32), state=state
        )
        np.testing.assert_allclose(out.direction, expected, rtol=1e-3, atol=1e-3)
        state = out.state
        assert state.solver.converged


def test_pcd_drops_demands_that_cannot_be_met():
    helper = np.array([0.0, 1.0, 0.3])
    primary = np.array([1.0, 0.2, 0.0])
    jacobian = np.stack([primary, helper, -2 * helper, [0.0, 0.1, 1.0]])
    hyper = {"beta": 0.999, "eps": 0.0}
    for scale in (1e-6, 1.0, 1e6):
        d, _, state = PCD(scale * jacobian, tau=0.1, **hyper)
        np.testing.assert_allclose(d, scale * primary, rtol=1e-6)
        assert state.solver.converged
    # They can be met with τ = 0: orthogonal to both.
    d, _, _ = PCD(jacobian, tau=0.0, **hyper)
    assert np.all(np.abs(jacobian[1:3] @ d) < 1e-5)
    assert d @ primary > 0.5
    # Nearly opposite ones can just be met.
    jacobian[2] = [0.02, -2.0, -0.6]
    d, _, _ = PCD(jacobian[:3], tau=0.1, **hyper)
    assert np.all(jacobian[1:3] @ d > 0)


def test_pcd_without_the_primary_task_rests():
    jacobian = np.random.default_rng(11).normal(size=(3, 4))
    jacobian[0] = 0
    hyper = {"tau": 0.1, "beta": 0.999, "eps": 0.0}
    d, _, state = PCD(jacobian, keep=[False, True, True], **hyper)
    assert not np.any(d)
    assert state.num_steps[:3].tolist() == [0, 1, 1]
    d, _, state = PCD(jacobian, **hyper)  # it is there, and at a stationary point
    assert not np.any(d)
    assert state.num_steps[:3].tolist() == [1, 1, 1]


def test_a_primary_task_must_be_one_of_the_tasks():
    for factory in (pcd, metabalance):
        with pytest.raises(ValueError, match=r"primary=3 and 3 tasks.*0 to 2"):
            factory(primary=3).init(3)
        with pytest.raises(ValueError, match="primary=-1"):
            factory(primary=-1)
    with pytest.raises(ValueError, match="tau=2"):
        pcd(tau=2)


def test_pcd_and_metabalance_do_not_depend_on_the_scale():
    rng = np.random.default_rng(12)
    steps = steps_of(rng, 5, 4, 6)
    for method in (pcd(0.2), metabalance()):
        plain, _ = run(method, steps)
        for scale in (1e-6, 1e6):
            scaled, _ = run(method, [(scale * j, x) for j, x in steps])
            np.testing.assert_allclose(plain, scaled, rtol=1e-4, atol=1e-5)
        # Nor on the unit of one of the others' losses.
        unit = np.array([1, 1e3, 1e-3, 1])
        scaled, _ = run(method, [(unit[:, None] * j, x) for j, x in steps])
        if method.init(4)._fields[0] == "squares":
            np.testing.assert_allclose(plain, scaled * unit, rtol=1e-3, atol=1e-4)


# Krum


def krum_by_hand(jacobian, f, m, squared):
    t = len(jacobian)
    distances = np.linalg.norm(jacobian[:, None] - jacobian[None], axis=-1)
    scores = []
    for i in range(t):
        near = np.sort(np.delete(distances[i], i))[: t - f - 2]
        scores.append(np.sum(near**2 if squared else near))
    weights = np.zeros(t)
    weights[np.argsort(scores, kind="stable")[:m]] = 1 / m
    return weights


@pytest.mark.parametrize("squared", [True, False])
def test_krum_by_hand(squared):
    rng = np.random.default_rng(13)
    for t, f, m in ((4, 0, 2), (9, 3, 4), (16, 5, 16)):
        method = krum(f, m, squared)
        for scale in (1e-6, 1.0, 1e6):
            jacobian = scale * rng.normal(size=(t, 5))
            jacobian[-1] *= 30
            found = weighting.aggregate(method, jnp.asarray(jacobian, jnp.float32))
            expected = krum_by_hand(jacobian, f, m, squared)
            np.testing.assert_allclose(found.weights, expected, rtol=1e-6)


@pytest.mark.parametrize("squared", [True, False])
def test_krum_gives_ties_to_the_smallest_number(squared):
    g = np.random.default_rng(14).normal(size=(2, 6))
    jacobian = np.stack([g[1], g[0], -g[0], g[0], 2 * g[1], -g[0], 3 * g[1]])
    one, three = krum(4, 1, squared), krum(4, 3, squared)
    for scale in (1e-6, 0.1, 1.0, 1e3, 1e6):  # whatever the rounding errors are
        scaled = jnp.asarray(scale * jacobian, jnp.float32)
        out = weighting.aggregate(one, scaled)
        assert out.weights.tolist() == [0, 1, 0, 0, 0, 0, 0]
        out = weighting.aggregate(three, scaled)
        np.testing.assert_allclose(out.weights, np.array([0, 1, 1, 1, 0, 0, 0]) / 3)


def test_krum_leaves_out_what_is_absent():
    rng = np.random.default_rng(15)
    jacobian = rng.normal(size=(7, 5))
    keep = np.array([1, 0, 1, 1, 0, 1, 1], bool)
    masked = jnp.asarray(np.where(keep[:, None], jacobian, 0), jnp.float32)
    out = weighting.aggregate(krum(1, 2), masked, mask=jnp.asarray(keep))
    expected = krum_by_hand(jacobian[keep], 1, 2, True)
    np.testing.assert_allclose(np.asarray(out.weights)[keep], expected)
    method = krum(3, 5)
    for present in (1, 2, 3):  # too few for the definition
        keep = np.arange(7) < present
        out = weighting.aggregate(
            method, jnp.asarray(jacobian * keep[:, None]), mask=jnp.asarray(keep)
        )
        np.testing.assert_allclose(np.asarray(out.weights)[:present], 1 / present)


def test_krum_errors():
    with pytest.raises(ValueError, match=r"given 4 tasks.*5 tasks or more"):
        krum(n_byzantine=2).init(4)
    with pytest.raises(ValueError, match="n_selected=6 and 5 tasks"):
        krum(n_selected=6).init(5)
    with pytest.raises(ValueError, match="n_byzantine=-1"):
        krum(n_byzantine=-1)


# MetaBalance


@pytest.mark.parametrize("strategy", ["both", "larger", "smaller"])
def test_metabalance_by_hand(strategy):
    rng = np.random.default_rng(16)
    r, beta, primary = 0.6, 0.7, 2
    method = metabalance(r, beta, strategy, primary)
    unit = np.array([[1.0], [100.0], [1.0], [0.01]])
    steps = [(unit * j, x) for j, x in steps_of(rng, 5, 4, 6)]
    found, _ = run(method, steps)
    m = np.zeros(4)
    for (jacobian, _), used in zip(steps, found, strict=True):
        m = beta * m + (1 - beta) * np.linalg.norm(jacobian, axis=1)
        expected = r * m[primary] / m + (1 - r)
        changes = {
            "both": np.ones(4, bool),
            "larger": m > m[primary],
            "smaller": m < m[primary],
        }[strategy]
        expected = np.where(changes, expected, 1)
        np.testing.assert_allclose(used, expected, rtol=1e-4)
        assert used[primary] == pytest.approx(1, rel=1e-6)


def test_metabalance_at_its_ends():
    jacobian = np.diag([1.0, 5.0, 0.2])
    plain = weighting.aggregate(metabalance(relax=0.0), jacobian)
    np.testing.assert_allclose(plain.weights, 1)
    equal = weighting.aggregate(metabalance(relax=1.0), jacobian)
    np.testing.assert_allclose(equal.direction, 1, rtol=1e-6)


def test_metabalance_remembers_an_absent_target():
    method = metabalance(relax=1.0, beta=0.5)
    state = method.init(3)
    alone = jnp.array([False, True, True])
    jacobian = jnp.diag(jnp.array([4.0, 2.0, 1.0]))
    out = weighting.aggregate(method, jacobian.at[0].set(0), state=state, mask=alone)
    assert out.weights.tolist() == [0, 1, 1]  # the target has no length yet
    out = weighting.aggregate(method, jacobian, state=out.state)
    np.testing.assert_allclose(out.weights, [1, 2, 4], rtol=1e-6)
    out = weighting.aggregate(
        method, jacobian.at[0].set(0), state=out.state, mask=alone
    )
    np.testing.assert_allclose(out.weights, [0, 2, 4], rtol=1e-6)
    zero = weighting.aggregate(method, jacobian.at[1].set(0))
    assert zero.weights.tolist() == [1, 1, 4]


def test_metabalance_errors():
    with pytest.raises(ValueError, match=r"relax=1\.5"):
        metabalance(relax=1.5)
    with pytest.raises(ValueError, match="Did you mean 'smaller'"):
        metabalance(strategy="small")
