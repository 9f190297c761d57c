"""How each strategy of a file of golden values is built and compared."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from golden_checks import (
    Case,
    Check,
    Checker,
    Entry,
    Runner,
    Step,
    change,
    every_step,
    is_statistical,
    one_step,
    relative,
)

DRAWS = 4000


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
    runner = Runner("mgda", entry["hyper"], case, dtype)
    found = runner.step(jacobian, losses).weights @ unit
    wanted, rel = entry["expected"]["d_normalized"], relative(entry, dtype)
    eps, size = float(np.finfo(dtype).eps), np.linalg.norm(unit, axis=1).max()
    if rel is None:  # d is not unique; the Gramian is known to rounding, ‖d‖² with it
        rel = absolute = eps**0.5
    else:  # as the file has it for d, and the rounding of the normalised gradients
        zero = np.linalg.norm(wanted) < 1e-12 * size
        absolute = max(1e-6 if zero else 1e-9, 10 * eps)
    return [*checks, Check("d_normalized", found, wanted, rel, absolute * size)]


def nash_mtl(entry: Entry, case: Case, dtype: str) -> list[Check]:
    """Also with the length of d bounded by 1."""

    def run(limit: float, expected: dict[str, Any]) -> list[Check]:
        hyper = {**entry["hyper"], "max_norm": float(limit)}
        changed = {**entry, "hyper": hyper, "expected": expected}
        return one_step("nash_mtl")(changed, case, dtype)

    expected = entry["expected"]
    checks = run(entry["hyper"].get("max_norm", 1.0), expected)
    bounded = {
        k: expected[f"{k}_max_norm_1"] for k in "dw" if f"{k}_max_norm_1" in expected
    }
    if bounded:
        again = run(1.0, bounded)
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
    """With one projection; the entry has the weights of the other one as well."""
    asked = entry["hyper"].get("variant", "paper")
    names = {"libmtl_softmax": "softmax", "paper": "simplex"}

    def run(projection: str, expected: dict[str, Any]) -> list[Check]:
        hyper = change({}, {"variant": asked}, eps=1e-8, projection=projection)
        changed = {**entry, "expected": expected}
        weights = {"w": lambda s: s.state.weights}
        return every_step("moco", hyper, **weights)(changed, case, dtype)

    expected, other = entry["expected"], "w_with_simplex_projection"
    checks = run(names.get(asked, asked), expected)
    if other in expected:
        again = run("simplex", {"w": expected[other]})
        checks += [check._replace(what=other) for check in again]
    return checks


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


STRATEGIES: dict[str, Checker] = {
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
