"""Comparisons with golden values, and methods that are run to be compared."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mtl_jax import weighting

Entry = Mapping[str, Any]
Case = Mapping[str, Any]


class Check(NamedTuple):
    """One thing that was found, and what was expected."""

    what: str  # the key of `expected`; "a or b" for several
    found: Any
    expected: Any
    relative: float = 0.0
    absolute: Any = 0.0  # a number, or an array where norm is "each"
    norm: Literal["length", "largest", "each"] = "length"
    """Over the last axis: the Euclidean length, the largest entry, each by itself."""
    lost: str = ""
    """Why the tolerance is out of reach, whatever the method does."""

    @np.errstate(all="ignore")
    def wrong(self) -> str | None:
        """What is wrong, or `None`."""
        if self.lost:
            return None
        found = np.asarray(self.found, np.float64)
        expected = np.asarray(self.expected, np.float64)
        if found.shape != expected.shape:
            return f"{self.what} has shape {found.shape}, expected {expected.shape}"
        size = {
            "length": lambda x: np.linalg.norm(np.atleast_1d(x), axis=-1),
            "largest": lambda x: np.max(np.abs(x), axis=-1),
            "each": np.abs,
        }[self.norm]
        error = size(found - expected)
        bound = np.broadcast_to(
            self.relative * size(expected) + self.absolute, error.shape
        )
        if np.all(np.isfinite(error) & (error <= bound)):
            return None
        worst = np.argmax(np.nan_to_num(error / bound, nan=np.inf))
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


def build(name: str, **hyper: Any) -> Any:
    """A method by its name here or in `weighting.METHODS`."""
    if name == "imtl_hybrid":
        return weighting.chain(weighting.imtl_l(**hyper), weighting.imtl_g())
    return weighting.make(name, **hyper)


@functools.cache
def _compiled(name: str, fixed: tuple[tuple[str, Any], ...], many: bool) -> Callable:
    """One call of a method; the numbers among the hyper-parameters are arguments.

    So a strategy compiles once a shape, whatever the numbers.
    """

    def call(numbers, jacobian, losses, state, key):
        method = build(name, **dict(fixed), **numbers)
        return weighting.aggregate(
            method, jacobian, losses=losses, state=state, key=key
        )

    # Nearly all the time is compilation, and half of that optimization.
    options = {"xla_backend_optimization_level": 0}
    axes = (None, None, None, None, 0)
    return jax.jit(jax.vmap(call, axes) if many else call, compiler_options=options)


class Step(NamedTuple):
    """What went into one call of a method, and what came out."""

    losses: np.ndarray  # [T]
    before: Any  # the state
    direction: np.ndarray  # [D], or [N, D] of N draws
    weights: np.ndarray | None  # [T]
    state: Any


class Runner:
    """A method and its state."""

    def __init__(self, name: str, hyper: Mapping[str, Any], case: Case, dtype: str):
        hyper = {
            key: np.asarray(value, dtype) if isinstance(value, list) else value
            for key, value in hyper.items()
        }
        self.method = build(name, **hyper)  # an error for wrong hyper-parameters
        numbers = {k: v for k, v in hyper.items() if isinstance(v, float | np.ndarray)}
        fixed = tuple((k, v) for k, v in hyper.items() if k not in numbers)
        self.name, self.fixed, self.numbers, self.dtype = name, fixed, numbers, dtype
        self.width = 50 * -(-case["D"] // 50)  # few shapes, few compilations
        self.state = self.method.init(case["T"], jnp.zeros(self.width, dtype))

    def step(self, jacobian: Any, losses: Any, *, draws: int = 0) -> Step:
        """One call, or as many from the same state with different keys."""
        jacobian = np.asarray(jacobian, self.dtype)
        losses = np.asarray(losses, self.dtype)
        before, hold = self.state, getattr(self.method, "hold", None)
        held = hold(before) if hold else None
        if held is not None and not held.due:
            self.state, weights = held.state, np.asarray(held.weights)
            return Step(losses, before, jacobian.T @ weights, weights, self.state)
        unused = [(0, 0)] * (jacobian.ndim - 1) + [(0, self.width - jacobian.shape[-1])]
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
        pair = (jnp.asarray(np.asarray(x, self.dtype)) for x in (before, after))
        self.state = jax.jit(self.method.observe)(*pair, self.state)


Checker = Callable[[Entry, Case, str], list[Check]]
"""`(entry, case, dtype) -> checks`."""

Change = Callable[[dict[str, Any]], dict[str, Any]]
Derived = Callable[[Step], Any]


def change(
    rename: Mapping[str, str] | None = None,
    drop: Mapping[str, Any] | None = None,
    **more: Any,
) -> Change:
    """From `hyper` of the file to that of ours: new names, some less, some more.

    `drop` are those that say nothing, with the value that they must have for that.
    """
    rename, drop = rename or {}, {"pref": "uniform 1/T", **(drop or {})}

    def changed(hyper: dict[str, Any]) -> dict[str, Any]:
        kept = {k: v for k, v in hyper.items() if k not in drop or v != drop[k]}
        return {**more, **{rename.get(k, k): v for k, v in kept.items()}}

    return changed


SAME = change()


def one_step(name: str, hyper: Change = SAME, **derived: Derived) -> Checker:
    """A strategy of one Jacobian; `derived` are keys of `expected` beside d and w."""

    def checks(entry: Entry, case: Case, dtype: str) -> list[Check]:
        runner = Runner(name, hyper(dict(entry["hyper"])), case, dtype)
        step = runner.step(case["J"], case["L"])
        found = _compared(entry, [step], derived, dtype, single=True)
        if dtype == "float32" and isinstance(runner.method, weighting.GramianWeighting):
            return [
                _without_what_rounding_takes(check, runner, case) for check in found
            ]
        return found

    return checks


def _without_what_rounding_takes(check: Check, runner: Runner, case: Case) -> Check:
    """The tolerances in float32 are for d; w may ask for more digits than G has.

    That is so where the method, in float64, is right with the exact Gramian and wrong
    with one that is off by the rounding of its entries to float32.
    """
    if check.what != "w" or check.wrong() is None:
        return check
    with jax.enable_x64(True):
        jacobian = np.asarray(case["J"], np.float64)
        norms, rng = np.linalg.norm(jacobian, axis=1), np.random.default_rng(0)
        rounding = np.finfo(np.float32).eps * np.outer(norms, norms)
        numbers = {k: np.asarray(v, np.float64) for k, v in runner.numbers.items()}
        method = build(runner.name, **dict(runner.fixed), **numbers)
        state = method.init(case["T"], jnp.zeros(case["D"]))
        losses, update = jnp.asarray(case["L"]), jax.jit(method.update)
        for trial in range(6):
            noise = (trial > 0) * rounding * rng.uniform(-1, 1, rounding.shape)
            gramian = jacobian @ jacobian.T + (noise + noise.T) / 2
            weights, _ = update(jnp.asarray(gramian), state, losses=losses)
            wrong = check._replace(found=np.asarray(weights)).wrong()
            if wrong and trial > 0:
                return check._replace(lost=f"with a rounded Gramian {wrong}")
            if wrong:
                break
    return check


def every_step(
    name: str,
    hyper: Change = SAME,
    *,
    first: int = 0,
    samples: bool = False,
    prepare: Callable[[Runner], None] | None = None,
    **derived: Derived,
) -> Checker:
    """A strategy of K Jacobians, one after the other.

    Args:
        name: of the method.
        hyper: see `change`.
        first: the step from which on values are expected.
        samples: whether the method gets the Jacobians of three batches.
        prepare: may change the method's first state.
        **derived: keys of `expected` beside d and w.
    """

    def checks(entry: Entry, case: Case, dtype: str) -> list[Check]:
        runner = Runner(name, hyper(dict(entry["hyper"])), case, dtype)
        if prepare is not None:
            prepare(runner)
        steps = []
        for k in range(first, case["K"]):
            keys = ("J", "J2", "J3") if samples else ("J",)
            batches = [case[key][k] for key in keys]
            step = runner.step(batches if samples else batches[0], case["L"][k])
            if getattr(runner.method, "observe", None) is not None:
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
    """Checks of all that both the steps and the entry have."""
    expected, rel = entry["expected"], relative(entry, dtype)
    absolute = entry["tolerance"].get("d_abs", 0.0)
    parts = {
        "d": lambda step: step.direction,
        "w": lambda step: step.weights,
        **derived,
    }
    if not entry.get("d_unique", True):
        del parts["d"]
    if not entry.get("w_unique") or parts["w"](steps[0]) is None:
        del parts["w"]
    checks = []
    for key in parts.keys() & expected.keys():
        values = [np.asarray(parts[key](step)) for step in steps]
        if single or key.endswith("_final"):  # a matrix is one long vector
            found, wanted = np.ravel(values[-1]), np.ravel(expected[key])
        else:
            found, wanted = np.stack(values), np.asarray(expected[key])
        if key == "w":
            zero = np.max(np.abs(wanted)) < 1e-30  # the rounding of 60 digits
            least = 100 * np.finfo(dtype).eps if zero else 0.0
            checks.append(Check(key, found, wanted, rel, least, norm="largest"))
        elif key == "d" or key.startswith("d_"):
            scale = 1 if key == "d" else len(steps[0].losses)  # of sums
            checks.append(Check(key, found, wanted, rel, scale * absolute))
        else:
            checks.append(Check(key, found, wanted, rel))
    return checks
