"""How each strategy of a file of golden values is built and compared."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mtl_jax import weighting

Entry = Mapping[str, Any]
Case = Mapping[str, Any]

PEERS_ONLY: dict[str, list[tuple[str, Any, str]]] = {}
"""Strategy to (hyper-parameter, value, reason): another library's variant of it."""


# Comparisons


class Check(NamedTuple):
    """One thing that was found, and what was expected."""

    what: str  # the key of `expected`
    found: Any
    expected: Any
    relative: float = 0.0
    absolute: Any = 0.0  # a number, or an array where norm is "each"
    norm: Literal["length", "largest", "each"] = "length"
    """Over the last axis: the Euclidean length, the largest entry, each by itself."""

    def wrong(self) -> str | None:
        """What is wrong, or `None`."""
        found, expected = (
            np.asarray(x, np.float64) for x in (self.found, self.expected)
        )
        if found.shape != expected.shape:
            return f"{self.what} has shape {found.shape}, expected {expected.shape}"
        size = {
            "length": lambda x: np.linalg.norm(np.atleast_1d(x), axis=-1),
            "largest": lambda x: np.max(np.abs(x), axis=-1),
            "each": np.abs,
        }[self.norm]
        error = size(found - expected)
        bound = self.relative * size(expected) + self.absolute
        if np.all(error <= bound):  # which NaN is not
            return None
        worst = np.argmax(np.nan_to_num(error / np.maximum(bound, 1e-300), nan=np.inf))
        bound = np.broadcast_to(bound, error.shape)
        return (
            f"{self.what} expected {_text(expected)}, found {_text(found)} (error "
            f"{error.flat[worst]:.3g}, tolerance {bound.flat[worst]:.3g})"
        )


def _text(array: np.ndarray) -> str:
    text = np.array2string(array, precision=8, threshold=20, edgeitems=3)
    return " ".join(text.split())


def relative(entry: Entry, dtype: str) -> float | None:
    """The relative tolerance of an entry in a dtype, `None` where it has none."""
    tolerance = entry.get("tolerance") or {}
    bits = dtype.removeprefix("float")
    return tolerance.get(f"d_rel_f{bits}", tolerance.get(f"rel_f{bits}"))


def is_statistical(entry: Entry) -> bool:
    """Whether the entry is about the moments of a random method."""
    return str((entry.get("tolerance") or {}).get("note", "")).startswith("statistical")


# Methods

WHOLE_OR_NOT = frozenset({"max_norm"})
"""Numbers that a file may write without a point, though they do not count anything."""


def build(name: str, **hyper: Any) -> Any:
    """A method by its name here or in `weighting.METHODS`."""
    if name == "imtl_hybrid":
        return weighting.chain(weighting.imtl_l(**hyper), weighting.imtl_g())
    return weighting.make(name, **hyper)


@functools.cache
def _compiled(name: str, fixed: tuple[tuple[str, Any], ...], many: bool) -> Callable:
    """One call of a method; numeric hyper-parameters are arguments.

    So a strategy compiles once a shape, whatever the numbers.
    """

    def call(numbers, jacobian, losses, state, key):
        method = build(name, **dict(fixed), **numbers)
        return weighting.aggregate(
            method, jacobian, losses=losses, state=state, key=key
        )

    # Compilation is all the time this takes: no optimization halves it.
    options = {"xla_backend_optimization_level": 0}
    axes = (None, None, None, None, 0)
    return jax.jit(jax.vmap(call, axes) if many else call, compiler_options=options)


class Step(NamedTuple):
    """What went into one call of a method, and what came out."""

    losses: np.ndarray  # [T]
    before: Any  # the state
    direction: np.ndarray  # [D], or [N, D]
    weights: np.ndarray | None  # [T]
    state: Any


class Runner:
    """A method and its state."""

    def __init__(self, name: str, hyper: Mapping[str, Any], case: Case, dtype: str):
        hyper = {
            key: np.asarray(value, dtype) if isinstance(value, list) else value
            for key, value in hyper.items()
        }
        self.method = build(name, **hyper)  # checks the hyper-parameters
        numbers = {
            key: float(value) if key in WHOLE_OR_NOT else value
            for key, value in hyper.items()
            if key in WHOLE_OR_NOT or isinstance(value, float | np.ndarray)
        }
        fixed = tuple((k, v) for k, v in hyper.items() if k not in numbers)
        self.name, self.fixed, self.numbers, self.dtype = name, fixed, numbers, dtype
        self.width = 50 * -(-case["D"] // 50)  # few shapes, few compilations
        self.state = self.method.init(case["T"], jnp.zeros(self.width, dtype))

    def step(self, jacobian: Any, losses: Any, *, draws: int = 0) -> Step:
        """One call, or many with different keys from the same state."""
        jacobian, losses = (
            np.asarray(jacobian, self.dtype),
            np.asarray(losses, self.dtype),
        )
        unused = [(0, 0)] * (jacobian.ndim - 1) + [(0, self.width - jacobian.shape[-1])]
        before, hold = self.state, getattr(self.method, "hold", None)
        held = hold(before) if hold else None
        if held is not None and not held.due:
            self.state, weights = held.state, np.asarray(held.weights)
            return Step(losses, before, jacobian.T @ weights, weights, self.state)
        key = jax.random.key(0)
        out = _compiled(self.name, self.fixed, draws > 0)(
            self.numbers,
            jnp.asarray(np.pad(jacobian, unused)),
            jnp.asarray(losses),
            before,
            jax.random.split(key, draws) if draws else key,
        )
        self.state = out.state
        direction = np.asarray(out.direction)[..., : jacobian.shape[-1]]
        weights = None if out.weights is None else np.asarray(out.weights)
        return Step(losses, before, direction, weights, self.state)

    def observe(self, before: Any, after: Any) -> None:
        """Tell the method the losses before and after the step of the parameters."""
        if getattr(self.method, "observe", None) is not None:
            pair = (jnp.asarray(np.asarray(x, self.dtype)) for x in (before, after))
            self.state = jax.jit(self.method.observe)(*pair, self.state)


# Kinds of entry

Derived = Callable[[Step], Any]
Change = Callable[[dict[str, Any]], dict[str, Any]]


def change(
    rename: Mapping[str, str] | None = None,
    drop: Mapping[str, Any] | None = None,
    **more: Any,
) -> Change:
    """Of `hyper` in the file to that of ours: new names, and more of them.

    `drop` are those that say nothing, and the value that they must have for that.
    """
    rename, drop = rename or {}, {"pref": "uniform 1/T", **(drop or {})}

    def changed(hyper: dict[str, Any]) -> dict[str, Any]:
        kept = {k: v for k, v in hyper.items() if k not in drop or v != drop[k]}
        return {**more, **{rename.get(k, k): v for k, v in kept.items()}}

    return changed


SAME = change()


def one_step(
    name: str,
    hyper: Change = SAME,
    **derived: Derived,
) -> Callable[..., list[Check]]:
    """A strategy of one Jacobian; `derived` are other keys of `expected`."""

    def checks(entry: Entry, case: Case, dtype: str) -> list[Check]:
        runner = Runner(name, hyper(dict(entry["hyper"])), case, dtype)
        step = runner.step(case["J"], case["L"])
        return _compared(entry, [step], derived, dtype, single=True)

    return checks


def every_step(
    name: str,
    hyper: Change = SAME,
    *,
    first: int = 0,
    samples: bool = False,
    prepare: Callable[[Runner], None] | None = None,
    **derived: Derived,
) -> Callable[..., list[Check]]:
    """A strategy of K Jacobians, one after the other.

    Args:
        name: of the method.
        hyper: see `change`.
        first: the step from which on there are expected values.
        samples: whether the method gets the Jacobians of three batches.
        prepare: may change the method's first state.
        **derived: other keys of `expected`.
    """

    def checks(entry: Entry, case: Case, dtype: str) -> list[Check]:
        runner = Runner(name, hyper(dict(entry["hyper"])), case, dtype)
        if prepare is not None:
            prepare(runner)
        steps = []
        for k in range(first, case["K"]):
            batches = [case[key][k] for key in ("J", "J2", "J3")]
            step = runner.step(batches if samples else batches[0], case["L"][k])
            runner.observe(case["L"][k], case["L_after"][k])
            steps.append(step._replace(state=runner.state))
        return _compared(entry, steps, derived, dtype, single=False)

    return checks


def _compared(
    entry: Entry,
    steps: list[Step],
    derived: Mapping[str, Derived],
    dtype: str,
    single: bool,
) -> list[Check]:
    """What the steps and the entry have in common."""
    expected, checks = entry["expected"], []
    rel, absolute = relative(entry, dtype), entry["tolerance"].get("d_abs", 0.0)

    def found(part: Derived, final: bool = False) -> Any:
        if single or final:
            return np.ravel(part(steps[-1]))  # a matrix is one long vector
        return np.stack([np.asarray(part(step)) for step in steps])

    def wanted(key: str) -> Any:
        return np.ravel(expected[key]) if single else expected[key]

    if "d" in expected and entry.get("d_unique", True):
        directions = found(lambda step: step.direction)
        checks.append(Check("d", directions, wanted("d"), rel, absolute))
    weights = derived.get("w", lambda step: step.weights)
    if "w" in expected and entry.get("w_unique") and weights(steps[0]) is not None:
        zero = np.max(np.abs(expected["w"])) < 1e-30  # the rounding of 60 digits
        checks.append(
            Check(
                "w",
                found(weights),
                wanted("w"),
                rel,
                100 * np.finfo(dtype).eps if zero else 0.0,
                norm="largest",
            )
        )
    for key in derived.keys() & expected.keys() - {"d", "w"}:
        if key.endswith("_final"):
            parts = found(derived[key], final=True), np.ravel(expected[key])
        else:
            parts = found(derived[key]), wanted(key)
        wide = len(steps[0].losses) * absolute if key.startswith("d_") else 0.0
        checks.append(Check(key, *parts, rel, wide))
    return checks


# Strategies that need more than that


def mgda(entry: Entry, case: Case, dtype: str) -> list[Check]:
    """Also the direction of the normalised gradients, unique where d is not."""
    checks = one_step("mgda")(entry, case, dtype)
    if "d_normalized" not in entry["expected"]:
        return checks
    jacobian, losses = np.asarray(case["J"]), np.asarray(case["L"])
    norms = np.linalg.norm(jacobian, axis=1)
    by = {"none": 1 + 0 * norms, "l2": norms, "loss": losses, "loss+": losses * norms}
    c = by[entry["hyper"]["normalize"]]
    unit = jacobian * np.divide(1, c, where=c > 0, out=np.zeros_like(c))[:, None]
    found = (
        Runner("mgda", entry["hyper"], case, dtype).step(jacobian, losses).weights
        @ unit
    )
    rel, eps = relative(entry, dtype), float(np.finfo(dtype).eps)
    absolute = 10 * eps  # the rounding of the normalised gradients
    if rel is None:  # d is not unique; the Gramian is known to rounding, ‖d‖² with it
        rel = absolute = eps**0.5
    absolute *= np.linalg.norm(unit, axis=1).max()
    wanted = entry["expected"]["d_normalized"]
    return [*checks, Check("d_normalized", found, wanted, rel, absolute)]


def nash_mtl(entry: Entry, case: Case, dtype: str) -> list[Check]:
    """Also with the length of d bounded by 1."""
    checks, expected = one_step("nash_mtl")(entry, case, dtype), entry["expected"]
    if "d_max_norm_1" in expected:
        hyper = {**entry["hyper"], "max_norm": 1}
        bounded = {key: expected[f"{key}_max_norm_1"] for key in ("d", "w")}
        again = one_step("nash_mtl")(
            {**entry, "hyper": hyper, "expected": bounded}, case, dtype
        )
        checks += [check._replace(what=f"{check.what}_max_norm_1") for check in again]
    return checks


def pcgrad(entry: Entry, case: Case, dtype: str) -> list[Check]:
    """In a fixed order, or the expected value over random orders."""
    if not is_statistical(entry):
        mean = {"d_mean_convention": lambda s: s.direction / len(s.losses)}
        return one_step("pcgrad", **mean)(entry, case, dtype)
    hyper = change(drop={"order": "random (expected value)"})(dict(entry["hyper"]))
    runner = Runner("pcgrad", hyper, case, dtype)
    draws = runner.step(case["J"], case["L"], draws=DRAWS).direction
    return [_mean(entry, case, dtype, draws, np.ptp(draws, axis=0))]


def graddrop(entry: Entry, case: Case, dtype: str) -> list[Check]:
    """Every call has the positive or the negative value of a coordinate; their mean."""
    expected = {k: np.asarray(v) for k, v in entry["expected"].items()}
    runner = Runner("graddrop", entry["hyper"], case, dtype)
    draws = runner.step(case["J"], case["L"], draws=DRAWS).direction
    pos, neg = expected["pos"], expected["neg"]
    nearer = np.where(np.abs(draws - pos) <= np.abs(draws - neg), pos, neg)
    worst = np.argmax(np.abs(draws - nearer), axis=0)[None]
    found, wanted = (np.take_along_axis(x, worst, 0)[0] for x in (draws, nearer))
    rounding = _rounding(case, dtype)
    return [
        Check("pos or neg", found, wanted, absolute=rounding, norm="each"),
        _mean(entry, case, dtype, draws, np.abs(pos - neg)),
    ]


def _mean(
    entry: Entry, case: Case, dtype: str, draws: np.ndarray, span: np.ndarray
) -> Check:
    """The mean of many calls, within five standard errors.

    Where the two values of a coordinate are far apart and one of them is rare, the
    count of the rare one is off by more (Bernstein's inequality): hence the span.
    """
    expected = np.asarray(entry["expected"]["d"])
    error = 5 * np.asarray(entry["expected"]["d_std"]) / np.sqrt(len(draws))
    absolute = error + 10 * span / len(draws) + _rounding(case, dtype)
    found = expected + np.mean(draws - expected, axis=0)
    return Check("d or d_std or P", found, expected, absolute=absolute, norm="each")


def _rounding(case: Case, dtype: str) -> float:
    return float(100 * np.finfo(dtype).eps * np.abs(case["J"]).max())


def rlw(entry: Entry, case: Case, dtype: str) -> list[Check]:
    """The moments of the weights, within five standard errors."""
    dist = entry["hyper"].get("dist", "normal")
    hyper = {"dist": "normal" if dist == "softmax(N(0,1)^T)" else dist}
    runner, t = Runner("rlw", hyper, {"D": 1, **case}, dtype), case["T"]
    weights = runner.step(np.ones((t, 1)), np.ones(t), draws=5 * DRAWS).weights
    w = np.asarray(weights, np.float64)
    apart = w - w.mean(0)
    samples = {  # of each draw; their means are the moments
        "mean": w,
        "var_per_weight": apart**2,
        "mean_of_max": w.max(1, keepdims=True),
        "covariance_offdiag": apart * np.roll(apart, 1, axis=1),
    }
    checks = []
    for key in samples.keys() & entry["expected"].keys():
        sample = samples[key]
        wanted = np.broadcast_to(entry["expected"][key], sample.shape[1:])
        error = 5 * sample.std(0) / np.sqrt(len(sample)) + 1e-6
        checks.append(Check(key, sample.mean(0), wanted, absolute=error, norm="each"))
    return checks


def uncertainty(entry: Entry, case: Case, dtype: str) -> list[Check]:
    """The variants have long names in the file."""
    names = {"L/(2e^s)+s/2": "regression", "L e^{-s}+s/2": "classification"}
    asked = str(entry["hyper"].get("variant"))
    variant = names.get(asked.rpartition(": ")[2], asked)
    return every_step(
        "uw",
        change({}, {"variant": asked}, variant=variant),
        s_after=lambda s: s.state.log_variance,
        loss=lambda s: np.sum(s.losses * s.weights + s.before.log_variance / 2),
    )(entry, case, dtype)


def famo(entry: Entry, case: Case, dtype: str) -> list[Check]:
    """The loss is a function of what the method tells: `1 / c = w_t D_t / z_t`."""

    def z(step: Step) -> Any:
        return jax.nn.softmax(step.before.logits)

    def loss(step: Step) -> Any:
        gap = step.losses - np.asarray(entry["hyper"]["min_losses"]) + 1e-8
        return np.sum(z(step) * np.log(gap)) * np.mean(step.weights * gap / z(step))

    return every_step("famo", logits_after=lambda s: s.state.logits, z=z, loss=loss)(
        entry, case, dtype
    )


def stch_mtl(entry: Entry, case: Case, dtype: str) -> list[Check]:
    """After the warm-up; the nadir is the losses of step 0."""
    hyper = {**entry["hyper"], "warmup_epochs": 0}
    if hyper.get("nadir") == "L[0]":
        hyper["nadir"] = case["L"][0]
    return every_step("stch_mtl", first=1)({**entry, "hyper": hyper}, case, dtype)


def moco(entry: Entry, case: Case, dtype: str) -> list[Check]:
    """Two projections; the entry has the weights of the other one as well."""
    given = {"libmtl_softmax": "softmax", "paper": "simplex"}
    asked = entry["hyper"].get("variant", "paper")
    expected, plain = entry["expected"], change({}, {"variant": asked}, eps=1e-8)
    checks = _moco(plain, given.get(asked, asked))(entry, case, dtype)
    if "w_with_simplex_projection" in expected:
        again = {**entry, "expected": {"w": expected["w_with_simplex_projection"]}}
        checks += [
            check._replace(what="w_with_simplex_projection")
            for check in _moco(plain, "simplex")(again, case, dtype)
        ]
    return checks


def _moco(hyper: Change, projection: str) -> Callable[..., list[Check]]:
    return every_step(
        "moco",
        lambda given: {**hyper(given), "projection": projection},
        w=lambda s: s.state.weights,
    )


def excess_mtl(entry: Entry, case: Case, dtype: str) -> list[Check]:
    """The weights sum to T, or in one convention to 1."""
    total = 1 if entry["hyper"].get("convention") == "torchjd" else case["T"]
    return every_step(
        "excess_mtl",
        change(eps=1e-7),
        w=lambda s: total * jax.nn.softmax(s.state.log_weights),
    )(entry, case, dtype)


def db_mtl(entry: Entry, case: Case, dtype: str) -> list[Check]:
    """The buffers make alpha."""

    def alpha(step: Step) -> Any:
        norms = np.linalg.norm(step.state.buffers, axis=-1)
        return norms.max() / (norms + 1e-8)

    return every_step("db_mtl", change(eps=1e-8), alpha=alpha)(entry, case, dtype)


def gradnorm(entry: Entry, case: Case, dtype: str) -> list[Check]:
    """From step 1 on, with the initial losses of step 0.

    The weights of the paper's form are those after the step, of the other before it.
    """
    softmax = entry["hyper"].get("variant") == "libmtl_softmax"

    def know_initial_losses(runner: Runner) -> None:
        losses = jnp.asarray(np.asarray(case["L"][0], dtype))
        runner.state = runner.state._replace(
            initial=losses, num_initial=jnp.ones_like(losses)
        )

    def grad_s(step: Step) -> Any:
        moved = np.asarray(step.before.learned) - np.asarray(step.state.learned)
        return moved / entry["hyper"]["lr_w"]

    return every_step(
        "gradnorm",
        change(where="all"),
        first=1,
        prepare=know_initial_losses,
        w=lambda s: s.weights if softmax else s.state.learned,
        grad_s=grad_s,
    )(entry, case, dtype)


def imtl_hybrid(entry: Entry, case: Case, dtype: str) -> list[Check]:
    """IMTL-L with given scales, then IMTL-G; of step 0 alone."""
    s, rate = np.asarray(entry["hyper"]["s"]), 0.01
    first = {**case, **{key: case[key][0] for key in ("J", "L")}}
    return one_step(
        "imtl_hybrid",
        change({"s": "s_init"}, sgd_lr=rate),
        alpha=lambda step: step.weights * np.exp(-s),
        grad_s=lambda step: (s - np.asarray(step.state.stages[0].log_scale)) / rate,
    )(entry, first, dtype)


DRAWS = 4000

STRATEGIES: dict[str, Callable[[Entry, Case, str], list[Check]]] = {
    # one Jacobian
    "sum": one_step("equal", change(reduction="sum")),
    "mean": one_step("equal", change(reduction="mean")),
    "mgda": mgda,
    "upgrad": one_step(
        "upgrad", d_sum_convention=lambda s: len(s.losses) * s.direction
    ),
    "dualproj": one_step("dualproj"),
    "cagrad": one_step("cagrad"),
    "nash_mtl": nash_mtl,
    "fairgrad": one_step("fairgrad"),
    "aligned_mtl": one_step("aligned_mtl"),
    "imtl_g": one_step("imtl_g"),
    "config": one_step("config"),
    "pcgrad": pcgrad,
    "gradvac": one_step(
        "gradvac", change(drop={"step": 1}), phi=lambda s: s.state.targets
    ),
    "graddrop": graddrop,
    "sdmgrad_exact": one_step("sdmgrad", change({"lambda": "lambda_"}, solver="exact")),
    "pcd": one_step("pcd", change(drop={"call": 1})),
    "trimmed_mean": one_step("trimmed_mean"),
    "krum": one_step("krum"),
    # a Jacobian a step
    "excess_mtl": excess_mtl,
    "modo": every_step("modo", samples=True),
    "moco": moco,
    "db_mtl": db_mtl,
    "cr_mogm_upgrad": every_step("cr_mogm", change(method="upgrad")),
    "pcd_sequence": every_step("pcd"),
    "gradvac_sequence": every_step("gradvac", phi_final=lambda s: s.state.targets),
    "sdmgrad": every_step("sdmgrad", change(eps=1e-8), samples=True),
    "gradnorm": gradnorm,
    "nash_mtl_every3": every_step("nash_mtl"),
    "dwa": every_step("dwa"),
    "dwa_iteration_window": every_step("dwa"),
    "famo": famo,
    "uw": uncertainty,
    "imtl_l": every_step(
        "imtl_l",
        s_after=lambda s: s.state.log_scale,
        loss=lambda s: np.sum(s.losses * s.weights - s.before.log_scale),
    ),
    "imtl_hybrid": imtl_hybrid,
    "gls": every_step("gls", loss=lambda s: np.sum(s.weights * s.losses)),
    "log_sum": every_step("si", loss=lambda s: -np.sum(np.log(s.weights))),
    "stch": every_step("stch"),
    "stch_mtl": stch_mtl,
    "cosmos": every_step("cosmos"),
    "pbi": every_step("pbi", change(eps=1e-12)),
    "rlw": rlw,
}
"""Strategy to what compares an entry of it; `d` and `w` are compared wherever they are
expected and unique."""
