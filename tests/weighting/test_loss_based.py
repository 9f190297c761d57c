"""The loss-based methods against their definitions, written down a second time."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mtl_jax import train, weighting
from mtl_jax.weighting import checks

KEY = jax.random.key(5)
PRECISIONS = {"float64": 1e-10, "float32": 3e-5}


def random_losses(t, seed=0, steps=None):
    shape = (t,) if steps is None else (steps, t)
    return np.random.default_rng(seed).uniform(0.05, 3, shape)


def ramp(t):
    """A preference among t tasks, not normalised, with a zero where t > 3."""
    return np.maximum(np.arange(t, 0, -1.0) - (t > 3), 0) / t


# The objective of each method, as a function of the losses. A weight is a derivative.


def log_sum(x):
    return jnp.sum(jnp.log(x))


def geometric_mean(x):
    return jnp.prod(x) ** (1 / len(x))


def smooth_maximum(mu, lam, z):
    return lambda x: mu * jnp.log(jnp.sum(jnp.exp(lam * (x - z) / mu)))


def maximum(lam, z):
    return lambda x: jnp.max(lam * (x - z))


def cosine(lambda_, r):
    def objective(x):
        return r @ x - lambda_ * (r @ x) / jnp.sqrt(jnp.sum(r**2) * jnp.sum(x**2))

    return objective


def off_the_ray(theta, lam, z, eps):
    def objective(x):
        ray = lam / jnp.sqrt(jnp.sum(lam**2))
        d1 = jnp.sum((x - z) * ray)
        return d1 + theta * jnp.sqrt(jnp.sum((x - z - d1 * ray) ** 2) + eps)

    return objective


def held_focal(gamma, normalize):
    def objective(x):
        factor = (1 - jnp.exp(-x)) ** gamma
        if normalize:
            factor = len(x) * factor / jnp.sum(factor)
        return jax.lax.stop_gradient(factor) @ x

    return objective


def objectives(t):
    """Name to (method, objective)."""
    even, uneven = np.full(t, 1 / t), ramp(t)
    z = -0.3 + 0.05 * np.arange(t)
    return {
        "si": (weighting.si(), log_sum),
        "gls": (weighting.gls(), geometric_mean),
        "stch": (weighting.stch(0.3), smooth_maximum(0.3, even, 0)),
        "stch of vectors": (
            weighting.stch(0.1, uneven, z),
            smooth_maximum(0.1, uneven, z),
        ),
        "tchebycheff": (weighting.tchebycheff(), maximum(even, 0)),
        "tchebycheff of vectors": (
            weighting.tchebycheff(uneven, z),
            maximum(uneven, z),
        ),
        "cosmos": (weighting.cosmos(), cosine(2.0, even)),
        "cosmos of a vector": (weighting.cosmos(0.7, uneven), cosine(0.7, uneven)),
        "pbi": (weighting.pbi(), off_the_ray(5.0, even, 0, 0)),
        "pbi of vectors": (
            weighting.pbi(0.7, uneven, z, 0.01),
            off_the_ray(0.7, uneven, z, 0.01),
        ),
        "focal": (weighting.focal(), held_focal(2.0, True)),
        "focal as it is": (weighting.focal(0.5, False), held_focal(0.5, False)),
        "preference": (
            weighting.preference(uneven),
            lambda x: uneven / uneven.sum() @ x,
        ),
    }


@functools.cache
def derivatives(t):
    """Losses `[N, T]`, and by name the derivatives there `[N, T]`; float64."""
    losses = random_losses(t, steps=6)
    with jax.enable_x64(True):
        given = jnp.asarray(losses)
        return losses, {
            name: np.asarray(jax.jit(jax.vmap(jax.grad(objective)))(given))
            for name, (_, objective) in objectives(t).items()
        }


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("t", [2, 5])
def test_weights_are_the_derivative_of_the_objective(t, precision):
    losses, expected = derivatives(t)
    with jax.enable_x64(precision == "float64"):
        given = jnp.asarray(losses, precision)
        for name, (method, _) in objectives(t).items():
            weigh = jax.vmap(lambda x, m=method: m.update(x, m.init(t))[0])
            weights = jax.jit(weigh)(given)
            assert weights.dtype == precision
            bound = PRECISIONS[precision] * np.abs(expected[name]).max()
            error = np.abs(np.asarray(weights) - expected[name]).max()
            assert error <= bound, name


def test_absent_tasks_are_left_out_of_the_objective():
    keep = np.array([True, False, True, True, False])
    losses, r = random_losses(5, 1), np.array([1.0, 2.0, 0.5, 3.0, 4.0])
    z = np.array([-1.0, 0.0, -0.2, -3.0, 1.0])
    makers = {
        "si": lambda part: weighting.si(),
        "gls": lambda part: weighting.gls(),
        "stch": lambda part: weighting.stch(0.1),
        "stch of vectors": lambda part: weighting.stch(0.1, r[part], z[part]),
        "tchebycheff": lambda part: weighting.tchebycheff(),
        "tchebycheff of vectors": lambda part: weighting.tchebycheff(r[part], z[part]),
        "cosmos": lambda part: weighting.cosmos(),
        "cosmos of a vector": lambda part: weighting.cosmos(1.0, r[part]),
        "pbi": lambda part: weighting.pbi(),
        "pbi of vectors": lambda part: weighting.pbi(1.0, r[part], z[part]),
        "focal": lambda part: weighting.focal(),
        "preference": lambda part: weighting.preference(r[part]),
    }
    for name, make in makers.items():
        all_tasks, some = make(np.full(5, True)), make(keep)
        found, _ = all_tasks.update(
            jnp.asarray(np.where(keep, losses, 0), jnp.float32),
            all_tasks.init(5),
            mask=jnp.asarray(keep),
        )
        alone, _ = some.update(jnp.asarray(losses[keep], jnp.float32), some.init(3))
        np.testing.assert_array_equal(found[~keep], 0)
        np.testing.assert_allclose(found[keep], alone, rtol=1e-5, err_msg=name)


# States, with tasks that come and go


class OneTask:
    """What a task remembers, and what it would weigh by itself; NumPy, float64."""

    def __init__(self):
        self.losses, self.kpis, self.epochs = [], [], []

    def see(self, loss, kpi, epoch):
        self.losses.append(loss)
        self.kpis.append(kpi)
        self.epochs.append(epoch)


def imtl_l_by_hand(tasks, lr=0.3, start=0.2):
    weights = []
    for task in tasks:
        s = start
        for loss in task.losses[:-1]:
            step, best = lr * (1 - math.exp(s) * loss), -math.log(loss)
            s = s + step if abs(step) <= abs(best - s) else best
        weights.append(math.exp(s))
    return weights


def dtp_by_hand(tasks, gamma=1.5, alpha=0.4, eps=1e-6):
    weights = []
    for task in tasks:
        mean = task.kpis[0]
        for kpi in task.kpis[1:]:
            mean = alpha * kpi + (1 - alpha) * mean
        mean = max(mean, eps)
        weights.append(-((1 - mean) ** gamma) * math.log(mean))
    return weights


def windows_by_hand(tasks, window=3, temperature=0.5):
    if any(len(task.losses) <= window + 1 for task in tasks):
        return [1 / len(tasks)] * len(tasks)
    powers = []
    for task in tasks:
        history = [1.0] * 2 * window + task.losses
        late, early = history[-window:], history[-2 * window : -window]
        powers.append(math.exp(sum(late) / sum(early) / temperature))
    return [p / sum(powers) for p in powers]


def stch_mtl_by_hand(tasks, mu=0.3, warmup=3):
    now = max(task.epochs[-1] for task in tasks)
    if now < warmup:
        return [1 / task.losses[-1] for task in tasks]
    ratios = []
    for task in tasks:
        warm = [e for e in task.epochs if e < warmup]
        last = [
            x for x, e in zip(task.losses, task.epochs, strict=True) if warm[-1:] == [e]
        ]
        nadir = np.mean(last) if warm else task.losses[0]
        ratios.append((task.losses[-1] / nadir) ** (1 / mu))
    t, total = len(tasks), sum(ratios)
    return [
        t * r / total / task.losses[-1] for r, task in zip(ratios, tasks, strict=True)
    ]


STATEFUL = {
    "imtl_l": (lambda: weighting.imtl_l(0.2, 0.3), imtl_l_by_hand),
    "dtp": (lambda: weighting.dtp(1.5, 0.4), dtp_by_hand),
    "dwa": (lambda: weighting.dwa(0.5, window=3), windows_by_hand),
    "stch_mtl": (lambda: weighting.stch_mtl(0.3, 3), stch_mtl_by_hand),
}


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("name", STATEFUL)
def test_states_over_a_sequence(name, masked):
    """Each task remembers the steps in which it had labels, and no others."""
    t, steps, a_long_absence = 4, 30, 14
    make, by_hand = STATEFUL[name]
    method, tasks = make(), [OneTask() for _ in range(t)]
    losses = random_losses(t, seed=3, steps=steps)
    losses[7] *= 40  # far enough for a step on s to pass its optimum
    kpis = np.random.default_rng(4).uniform(0, 1, (steps, t))
    kpis[5, 0] = 0
    masks = np.random.default_rng(6).random((steps, t)) < 0.6
    masks[:a_long_absence, 2] = False
    masks[3] = False
    masks |= not masked
    update = jax.jit(method.update)
    state = method.init(t)
    for k in range(steps):
        epoch, keep = k // 4, masks[k]
        for i in np.flatnonzero(keep):
            tasks[i].see(losses[k, i], kpis[k, i], epoch)
        weights, state = update(
            jnp.asarray(np.where(keep, losses[k], 0), jnp.float32),
            state,
            mask=jnp.asarray(keep) if masked else None,
            epoch=jnp.int32(epoch),
            kpi=jnp.asarray(kpis[k], jnp.float32),
        )
        expected = np.zeros(t)
        if np.any(keep):
            expected[keep] = by_hand([tasks[i] for i in np.flatnonzero(keep)])
        np.testing.assert_allclose(weights, expected, rtol=2e-4, atol=1e-6)
        assert all(np.all(np.isfinite(x)) for x in jax.tree.leaves(state))


# Tasks without labels, and losses that a method is not defined for


def all_methods():
    """One of each, with defaults where there are any."""
    return {
        "si": weighting.si(),
        "gls": weighting.gls(),
        "imtl_l": weighting.imtl_l(),
        "stch": weighting.stch(0.2),
        "stch_mtl": weighting.stch_mtl(warmup_epochs=1),
        "stch_mtl, nadir": weighting.stch_mtl(0.5, 0, [1.0, 2.0, 3.0, 4.0]),
        "tchebycheff": weighting.tchebycheff(),
        "cosmos": weighting.cosmos(),
        "pbi": weighting.pbi(),
        "pbi, vectors": weighting.pbi(weights=[1, 2, 0, 4], reference=[0, 1, 0, -1]),
        "dtp": weighting.dtp([1.0, 2.0, 0.0, 0.5]),
        "focal": weighting.focal(),
        "focal as it is": weighting.focal(normalize=False),
        "preference": weighting.preference(),
        "preference, given": weighting.preference([0, 2, 1, 1]),
        "dwa": weighting.dwa(window=2),
    }


@pytest.mark.parametrize("name", all_methods())
def test_no_task_at_all_weighs_nothing(name):
    method = all_methods()[name]
    state = method.init(4)
    for _ in range(5):
        weights, new = method.update(
            jnp.zeros(4), state, key=KEY, mask=jnp.zeros(4, bool)
        )
        assert weights.tolist() == [0, 0, 0, 0]
        for a, b in zip(jax.tree.leaves(new), jax.tree.leaves(state), strict=True):
            assert np.all(np.isfinite(a))
            if jnp.ndim(a):  # all but the count of epochs
                np.testing.assert_array_equal(a, b)
        state = new


POSITIVE = {
    "si": 0.0,
    "gls": 0.0,
    "stch_mtl": 0.0,
    "stch_mtl, nadir": 0.0,
    "imtl_l": -1e-3,
}
"""The largest loss that the method is not defined for."""


@pytest.mark.parametrize("bad", [0.0, -1e-3, -2.0])
@pytest.mark.parametrize("name", all_methods())
def test_a_loss_that_is_not_positive(name, bad):
    """NaN where the method has no answer, and a state that stays good."""
    method = all_methods()[name]
    losses, state = jnp.array([0.5, bad, 1.0, 2.0]), method.init(4)
    for _ in range(4):
        weights, state = method.update(losses, state, key=KEY)
        defined = bad > POSITIVE.get(name, -np.inf)
        assert bool(jnp.all(jnp.isfinite(weights))) == defined
        assert all(np.all(np.isfinite(x)) for x in jax.tree.leaves(state))
    # The same loss of a task without labels does no harm.
    mask = jnp.array([True, False, True, True])
    weights, _ = method.update(losses, state, key=KEY, mask=mask)
    assert weights[1] == 0
    assert np.all(np.isfinite(weights))
    assert np.any(weights != 0)


def test_a_step_without_an_answer_is_skipped_and_counted():
    def losses_fn(shared, specific, batch):
        return jnp.stack([jnp.sum((shared - 1) ** 2), batch["x"][0] * jnp.sum(shared)])

    for name in ("si", "gls", "imtl_l"):
        method, optimizer = weighting.make(name), optax.sgd(0.1)
        start = train.create(
            jnp.ones(2) / 2, {}, method=method, optimizer=optimizer, num_tasks=2
        )
        step = train.make_train_step(losses_fn, method, optimizer, parallel="jit")
        state, output = step(start, {"x": jnp.array([-1.0])})
        assert int(output.skipped) == 1
        assert state.shared.tolist() == [0.5, 0.5]
        state, output = step(state, {"x": jnp.array([2.0])})
        assert int(output.skipped) == 1
        assert state.shared.tolist() != [0.5, 0.5]


# Numbers at the edges of float32


@pytest.mark.parametrize("name", all_methods())
@pytest.mark.parametrize("scale", [1e-12, 1e-6, 1e6, 1e12])
def test_finite_for_losses_of_any_size(name, scale):
    method = all_methods()[name]
    losses, state = jnp.asarray(random_losses(4, 8), jnp.float32), method.init(4)
    spread = jnp.array([1e-6, 1.0, 1e6, 1.0])
    for i, x in enumerate([losses, losses / 2, losses * spread, jnp.ones(4)] * 2):
        weights, state = method.update(x * scale, state, key=KEY, epoch=i)
        assert np.all(np.isfinite(weights)), i
        assert all(np.all(np.isfinite(x)) for x in jax.tree.leaves(state))


def test_scale_free_weights_are_free_of_scale():
    losses = jnp.asarray(random_losses(4, 9), jnp.float32)
    for method, power in (
        (weighting.si(), -1),
        (weighting.gls(), 0),
        (weighting.pbi(), 0),
        (weighting.tchebycheff(), 0),
    ):
        one, _ = method.update(losses, method.init(4))
        for scale in (1e-12, 1e-6, 1e6, 1e12):
            found, _ = method.update(losses * scale, method.init(4))
            np.testing.assert_allclose(found / scale**power, one, rtol=1e-4)


def test_gls_of_many_small_losses():
    """The product of 128 losses of 0.01 is 1e-256."""
    weights, _ = weighting.gls().update(jnp.full(128, 0.01), ())
    np.testing.assert_allclose(weights, 1 / 128, rtol=1e-5)


def test_focal_of_tiny_losses_keeps_their_ratios():
    weights, _ = weighting.focal(gamma=2.0).update(jnp.array([1e-25, 2e-25]), ())
    np.testing.assert_allclose(weights, [0.4, 1.6], rtol=1e-4)
    weights, _ = weighting.focal().update(jnp.zeros(3), ())
    assert weights.tolist() == [1, 1, 1]
    weights, _ = weighting.focal(gamma=0.0).update(jnp.array([0.0, 1.0]), ())
    assert weights.tolist() == [1, 1]


def test_dtp_of_perfect_and_hopeless_tasks():
    method = weighting.dtp(gamma=2.0, eps=1e-3)
    weights, _ = method.update(jnp.ones(2), method.init(2), kpi=jnp.array([0.0, 1.0]))
    expected = -((1 - 1e-3) ** 2) * math.log(1e-3)
    np.testing.assert_allclose(weights, [expected, 0], rtol=1e-5)
    told, _ = method.update(jnp.array([0.5, 2.0]), method.init(2))
    kpi = jnp.exp(-jnp.array([0.5, 2.0]))
    same, _ = method.update(jnp.ones(2), method.init(2), kpi=kpi)
    np.testing.assert_array_equal(told, same)


def test_cosmos_and_pbi_where_they_have_no_derivative():
    r = jnp.array([0.2, 0.8])
    weights, _ = weighting.cosmos(weights=r).update(jnp.zeros(2), ())
    np.testing.assert_allclose(weights, r)
    ray = r / jnp.linalg.norm(r)
    for size in (0.0, 1e-6, 0.1, 1.0, 1e6):
        weights, _ = weighting.pbi(weights=r).update(r * size, ())
        np.testing.assert_allclose(weights, ray, rtol=1e-6)
    for z in (0.5, 1.0, 3.0):  # the rounding of L − z must not decide
        method = weighting.pbi(reference=jnp.full(8, z))
        for x in (0.1, 0.3, 1.0, 3.3):
            weights, _ = method.update(jnp.full(8, x), ())
            np.testing.assert_allclose(weights, 8**-0.5, rtol=1e-6)
    # A loss that has left the ray by more than rounding counts at once.
    weights, _ = weighting.pbi(5.0, [1.0, 1.0]).update(jnp.array([1.0, 1.00001]), ())
    np.testing.assert_allclose(weights, 0.5**0.5 * np.array([-4, 6]), rtol=1e-3)


# Single methods


def test_tchebycheff_shares_ties_and_is_the_limit_of_stch():
    losses = jnp.array([1.0, 3.0, 2.0, 3.0])
    weights, _ = weighting.tchebycheff().update(losses, ())
    np.testing.assert_allclose(weights, [0, 0.125, 0, 0.125])
    sharp, _ = weighting.stch(1e-4).update(losses, ())
    np.testing.assert_allclose(sharp, weights, atol=1e-6)
    sharp, _ = weighting.stch(1e-30).update(1e12 * losses, ())
    np.testing.assert_allclose(sharp, weights, atol=1e-6)
    mask = jnp.array([True, False, True, False])
    weights, _ = weighting.tchebycheff().update(losses, (), mask=mask)
    assert weights.tolist() == [0, 0, 0.5, 0]


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1e3, 1e6])
def test_imtl_l_finds_the_scale_of_any_loss(scale):
    method = weighting.imtl_l(sgd_lr=0.1)
    update, state = jax.jit(method.update), method.init(1)
    for _ in range(300):
        weights, state = update(jnp.array([scale]), state)
        assert 0 < float(weights[0]) * scale <= max(1, scale) * (1 + 1e-5)
    assert float(weights[0]) * scale == pytest.approx(1, rel=1e-3)


def test_imtl_l_follows_any_optimizer():
    method = weighting.imtl_l(optimizer=optax.adam(0.1))
    weights, state = method.update(jnp.array([1.0, 8.0]), method.init(2))
    assert weights.tolist() == [1, 1]
    np.testing.assert_allclose(state.log_scale, [0.0, -0.1], atol=1e-6)


def test_stch_mtl_begins_like_si_and_counts_its_epochs_itself():
    method, si = weighting.stch_mtl(0.5, warmup_epochs=2), weighting.si()
    losses = random_losses(3, 2, steps=5).astype(np.float32)
    told, untold = method.init(3), method.init(3)
    for k, x in enumerate(jnp.asarray(losses)):
        a, told = method.update(x, told, epoch=k)
        b, untold = method.update(x, untold)
        np.testing.assert_array_equal(a, b)
        assert np.allclose(a, si.update(x, ())[0]) == (k < 2)
    np.testing.assert_allclose(told.total, losses[1])
    # At the nadir all tasks weigh as in si.
    a, _ = method.update(jnp.asarray(losses[1]), told, epoch=9)
    np.testing.assert_allclose(a, 1 / losses[1], rtol=1e-5)


def test_stch_mtl_that_begins_after_its_warm_up():
    method = weighting.stch_mtl(0.5, warmup_epochs=2)
    weights, state = method.update(jnp.array([0.5, 2.0]), method.init(2), epoch=7)
    np.testing.assert_allclose(weights, [2, 0.5])  # at its first losses
    weights, _ = method.update(jnp.array([0.25, 2.0]), state, epoch=7)
    np.testing.assert_allclose(weights, [2 * 0.2 / 0.25, 2 * 0.8 / 2], rtol=1e-5)


def test_windows_need_no_epochs():
    assert weighting.dwa().needs_epoch
    assert not weighting.dwa(window=3).needs_epoch
    assert weighting.stch_mtl().needs_epoch


@pytest.mark.parametrize("alpha", [0.05, 0.5, [0.5, 1.0, 3.0]])
def test_drawn_preferences_have_the_moments_of_dirichlet(alpha):
    method, n = weighting.preference(alpha=alpha), 10000
    keys = jax.random.split(jax.random.key(1), n)
    draw = jax.jit(
        jax.vmap(lambda k, m: method.update(jnp.ones(3), (), key=k, mask=m)[0], (0, 0))
    )
    for mask in ([True, True, True], [True, False, True]):
        r = np.asarray(draw(keys, jnp.tile(jnp.array(mask), (n, 1))), np.float64)
        np.testing.assert_allclose(r.sum(1), 1, atol=1e-5)
        a = np.where(mask, np.broadcast_to(alpha, 3), 0)
        total = a.sum()
        mean, variance = a / total, a * (total - a) / total**2 / (total + 1)
        error = np.sqrt(variance / n)
        assert np.all(np.abs(r.mean(0) - mean) <= 5 * error + 1e-6)
        assert np.all(np.abs(r.var(0) - variance) <= 0.07 * variance.max())


def test_a_given_preference_is_renormalised_over_the_present():
    method = weighting.preference([1.0, 2.0, 5.0])
    weights, _ = method.update(jnp.ones(3), (), mask=jnp.array([True, True, False]))
    np.testing.assert_allclose(weights, [1 / 3, 2 / 3, 0], rtol=1e-6)
    with pytest.raises(ValueError, match="preference draws its weights: update needs"):
        weighting.preference().update(jnp.ones(3), ())


@pytest.mark.parametrize(("t", "divisions"), [(1, 4), (2, 7), (3, 5), (5, 3), (4, 1)])
def test_preference_vectors_are_the_whole_lattice(t, divisions):
    vectors = weighting.preference_vectors(t, divisions)
    assert vectors.shape == (math.comb(t + divisions - 1, divisions), t)
    np.testing.assert_allclose(vectors.sum(1), 1)
    counts = vectors * divisions
    np.testing.assert_allclose(counts, np.round(counts))
    assert vectors.min() >= 0
    rows = [tuple(row) for row in np.round(counts).astype(int)]
    assert rows == sorted(set(rows))


# Hyper-parameters

WRONG = {
    "imtl_l was given sgd_lr=0; it must be a number, above 0": (
        lambda: weighting.imtl_l(sgd_lr=0)
    ),
    "imtl_l was given s_init='0'; it must be a number": (
        lambda: weighting.imtl_l(s_init="0")
    ),
    "uw was given sgd_lr=-0.1; it must be a number, above 0": (
        lambda: weighting.uw(sgd_lr=-0.1)
    ),
    "uw was given s_init=nan; it must be a number": (
        lambda: weighting.uw(s_init=math.nan)
    ),
    "dwa was given temperature=0.0; it must be a number, above 0": (
        lambda: weighting.dwa(0.0)
    ),
    "dwa was given window=0; it must be a whole number, at least 1": (
        lambda: weighting.dwa(window=0)
    ),
    "dwa was given window=2.5; it must be a whole number, at least 1": (
        lambda: weighting.dwa(window=2.5)
    ),
    "famo was given w_lr=0; it must be a number, above 0": (
        lambda: weighting.famo(w_lr=0)
    ),
    "famo was given gamma=-1.0; it must be a number, at least 0": (
        lambda: weighting.famo(gamma=-1.0)
    ),
    "famo was given min_losses=None; it must be a number": (
        lambda: weighting.famo(min_losses=None)
    ),
    "famo of 3 tasks was given min_losses of shape (2,); give one number a task": (
        lambda: weighting.famo(min_losses=[0.0, 1.0]).init(3)
    ),
    "static was given weights=[1.0, nan]; each must be a number": (
        lambda: weighting.static([1.0, math.nan])
    ),
    "static weighting of 3 tasks was given weights of shape (2,)": (
        lambda: weighting.static([1.0, 2.0]).init(3)
    ),
    "unknown distribution of rlw 'uniform'": lambda: weighting.rlw("uniform"),
    "stch was given mu=0.0; it must be a number, above 0": lambda: weighting.stch(0.0),
    "stch was given reference=inf; it must be a number": (
        lambda: weighting.stch(1.0, reference=math.inf)
    ),
    "stch of 3 tasks was given reference of shape (2,)": (
        lambda: weighting.stch(1.0, reference=[0, 0]).init(3)
    ),
    "stch of 3 tasks was given weights of shape (2,)": (
        lambda: weighting.stch(1.0, [1, 1]).init(3)
    ),
    "stch was given weights=[1.0, -1.0]; it must be non-negative numbers": (
        lambda: weighting.stch(1.0, [1.0, -1.0]).init(2)
    ),
    "tchebycheff was given weights=[0.0, 0.0]; it must be non-negative numbers, not": (
        lambda: weighting.tchebycheff([0.0, 0.0]).init(2)
    ),
    "tchebycheff of 2 tasks was given reference of shape (3,)": (
        lambda: weighting.tchebycheff(reference=[0, 0, 0]).init(2)
    ),
    "stch_mtl was given mu=-1; it must be a number, above 0": (
        lambda: weighting.stch_mtl(-1)
    ),
    "stch_mtl was given warmup_epochs=-1; it must be a whole number, at least 0": (
        lambda: weighting.stch_mtl(warmup_epochs=-1)
    ),
    "stch_mtl was given nadir=[1.0, 0.0]; each must be a number, above 0": (
        lambda: weighting.stch_mtl(nadir=[1.0, 0.0])
    ),
    "stch_mtl of 3 tasks was given nadir of shape (2,)": (
        lambda: weighting.stch_mtl(nadir=[1.0, 2.0]).init(3)
    ),
    "stch_mtl was given warmup_epochs=0 and no nadir": (
        lambda: weighting.stch_mtl(warmup_epochs=0)
    ),
    "cosmos was given lambda_=-1.0; it must be a number, at least 0": (
        lambda: weighting.cosmos(-1.0)
    ),
    "cosmos of 3 tasks was given weights of shape (1,)": (
        lambda: weighting.cosmos(weights=[1.0]).init(3)
    ),
    "pbi was given theta=-1.0; it must be a number, at least 0": (
        lambda: weighting.pbi(-1.0)
    ),
    "pbi was given eps=-1e-12; it must be a number, at least 0": (
        lambda: weighting.pbi(eps=-1e-12)
    ),
    "pbi of 3 tasks was given reference of shape (4,)": (
        lambda: weighting.pbi(reference=jnp.zeros(4)).init(3)
    ),
    "dtp was given gamma=[1.0, -2.0]; each must be a number, at least 0": (
        lambda: weighting.dtp([1.0, -2.0])
    ),
    "dtp of 3 tasks was given gamma of shape (2,)": (
        lambda: weighting.dtp([1.0, 2.0]).init(3)
    ),
    "dtp was given alpha=0; it must be a number, above 0 and at most 1": (
        lambda: weighting.dtp(alpha=0)
    ),
    "dtp was given eps=0.0; it must be a number, above 0 and at most 1": (
        lambda: weighting.dtp(eps=0.0)
    ),
    "focal was given gamma=-0.5; it must be a number, at least 0": (
        lambda: weighting.focal(-0.5)
    ),
    "preference was given alpha=0.0; it must be a number, above 0": (
        lambda: weighting.preference(alpha=0.0)
    ),
    "preference of 3 tasks was given alpha of shape (2,)": (
        lambda: weighting.preference(alpha=[1.0, 2.0]).init(3)
    ),
    "preference was given weights=[-1.0, 1.0]; it must be non-negative": (
        lambda: weighting.preference([-1.0, 1.0]).init(2)
    ),
    "preference_vectors was given num_tasks=0; it must be a whole number, at least": (
        lambda: weighting.preference_vectors(0, 3)
    ),
    "preference_vectors was given divisions=2.0; it must be a whole number": (
        lambda: weighting.preference_vectors(2, 2.0)
    ),
}


@pytest.mark.parametrize("message", WRONG)
def test_wrong_hyper_parameters_are_told(message):
    with pytest.raises(ValueError) as error:
        WRONG[message]()
    assert message in str(error.value)


def test_one_or_per_task():
    assert checks.one_or_per_task("m", "x", 3, 2).tolist() == [3, 3]
    assert checks.one_or_per_task("m", "x", [1, 2], 2).tolist() == [1, 2]
    swept = jax.vmap(lambda x: checks.one_or_per_task("m", "x", x, 2))(jnp.arange(2.0))
    assert swept.tolist() == [[0, 0], [1, 1]]


def test_vectors_may_be_swept():
    losses = jnp.asarray(random_losses(3), jnp.float32)
    vectors = jnp.asarray(weighting.preference_vectors(3, 2), jnp.float32)[:4]
    makers = {
        "stch": lambda v: weighting.stch(0.3, v, -v),
        "tchebycheff": lambda v: weighting.tchebycheff(v, -v),
        "cosmos": lambda v: weighting.cosmos(1.0, v),
        "pbi": lambda v: weighting.pbi(1.0, v, -v),
        "preference": weighting.preference,
        "dtp": weighting.dtp,
        "stch_mtl": lambda v: weighting.stch_mtl(1.0, 0, v + 1),
        "static": weighting.static,
        "famo": lambda v: weighting.famo(min_losses=-v),
    }
    for name, make in makers.items():

        def run(v, make=make):
            method = make(v)
            return method.update(losses, method.init(3))[0]

        swept = jax.vmap(run)(vectors)
        assert not np.allclose(swept[0], swept[1]), name
        np.testing.assert_allclose(
            swept[2], run(vectors[2]), rtol=1e-5, atol=1e-6, err_msg=name
        )
