"""One row a method: what it is called with and what its paper claims.

A new method gets its row here, and with it the whole contract and property suite.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp

from mtl_jax import weighting

_MADE: dict[str, weighting.Method] = {}


class Row(NamedTuple):
    """One method in the test table."""

    name: str
    hyper: dict[str, Any] = {}  # noqa: RUF012
    fixed: dict[str, Any] = {}  # noqa: RUF012
    """Further hyper-parameters that take the randomness out, where it can be."""
    tuned: dict[str, Any] = {}  # noqa: RUF012
    """Numeric hyper-parameters that must work as tracers."""
    random: bool = False
    """Random whatever the hyper-parameters."""
    non_conflicting: bool = False
    """No task's gradient has a negative product with the direction."""
    homogeneous: bool = True
    """The direction scales with the Jacobian."""
    scale_free: bool = True
    """Where it does not, it keeps its direction, up to length."""
    stationary: bool = False
    """The direction is zero exactly where the point is Pareto stationary."""
    duplicates: bool = False
    """With every task there twice, the direction is the same, up to length."""
    equivariant: bool = True
    """Renaming the tasks renames the weights."""
    min_tasks: int = 1
    rounding: tuple[str, ...] = ()
    """Jacobians of the bank at which float32 cannot form the Gramian well enough."""

    def make(self, **more: Any) -> weighting.Method:
        """The method as the contract suite calls it.

        The same object for the same hyper-parameters: what one test has compiled, the
        next one uses.
        """
        key = f"{self.name} {more}"
        if not all(isinstance(value, str | int | float) for value in more.values()):
            return weighting.make(self.name, **{**self.hyper, **more})
        if key not in _MADE:
            _MADE[key] = weighting.make(self.name, **{**self.hyper, **more})
        return _MADE[key]

    def make_fixed(self) -> weighting.Method:
        """The method without randomness."""
        return self.make(**self.fixed)

    def make_for(self, num_tasks: int) -> weighting.Method:
        """Without randomness, for that number of tasks."""
        if self.name == "static":
            return weighting.static(jnp.arange(1.0, num_tasks + 1))
        return self.make_fixed()


BILEVEL = ("auto_lambda", "moml", "forum")
"""Methods that need more than a matrix; their contract is in test_bilevel.py."""

TABLE = (
    Row("equal", duplicates=True),
    Row("static", hyper={"weights": jnp.arange(1.0, 6.0)}, equivariant=False),
    Row("uw", tuned={"s_init": 0.3, "sgd_lr": 0.1}),
    Row("dwa", tuned={"temperature": 1.5}),
    Row("rlw", random=True),
    Row("famo", tuned={"w_lr": 0.1, "gamma": 1e-3, "min_losses": 0.1}),
    Row("imtl_l", tuned={"s_init": 0.3, "sgd_lr": 0.1}, duplicates=True),
    Row("si", duplicates=True),
    Row("gls", duplicates=True),
    Row("stch", hyper={"mu": 0.2}, tuned={"mu": 0.1}),
    Row("stch_mtl", hyper={"warmup_epochs": 1}, tuned={"mu": 0.3}, duplicates=True),
    Row("tchebycheff", duplicates=True),
    Row("cosmos", tuned={"lambda_": 0.5}, duplicates=True),
    Row("pbi", tuned={"theta": 0.5, "reference": 0.1, "eps": 0.1}, duplicates=True),
    Row("preference", tuned={"alpha": 0.7}, random=True),
    Row("dtp", tuned={"gamma": 0.5, "alpha": 0.2}, duplicates=True),
    Row("focal", tuned={"gamma": 0.5}, duplicates=True),
    Row(
        "alternate",
        hyper={"sizes": jnp.array([20.0, 1.0, 5.0, 5.0, 1.0])},
        fixed={"sizes": None},
        equivariant=False,
    ),
    Row("bandit", random=True),
    Row("mgda", non_conflicting=True, stationary=True, duplicates=True),
    Row("pcgrad", fixed={"order": "ascending"}),
    Row("gradvac", fixed={"order": "ascending"}, tuned={"beta": 0.3, "eps": 0.1}),
    Row("imtl_g", duplicates=True, rounding=("conflicting",)),
    Row("config", duplicates=True),
    Row("aligned_mtl", duplicates=True),
    Row("upgrad", non_conflicting=True, stationary=True, duplicates=True),
    Row("dualproj", non_conflicting=True, stationary=True, duplicates=True),
    Row("cagrad", tuned={"c": 0.3}, duplicates=True),
    Row(
        "nash_mtl",
        tuned={"max_norm": 0.5},
        non_conflicting=True,
        homogeneous=False,
        duplicates=True,
    ),
    Row(
        "fairgrad",
        tuned={"alpha": 0.7},
        non_conflicting=True,
        homogeneous=False,
        duplicates=True,
    ),
    Row("gradnorm", tuned={"lr_w": 0.05}),
    Row("sdmgrad", tuned={"lambda_": 0.5, "lr": 0.1, "momentum": 0.3}),
    Row("modo", tuned={"gamma": 0.05, "rho": 0.2}, homogeneous=False, scale_free=False),
    Row("pcd", tuned={"tau": 0.3, "eps": 0.1}, equivariant=False),
    Row("metabalance", tuned={"relax": 0.4}, equivariant=False),
    Row("cr_mogm", tuned={"alpha": 0.3}, duplicates=True),
    Row("krum", equivariant=False, min_tasks=4),
    Row("graddrop", tuned={"leak": 0.3}, random=True),
    Row(
        "moco",
        tuned={
            "beta": 0.3,
            "beta_sigma": 0.3,
            "gamma": 0.3,
            "gamma_sigma": 0.3,
            "rho": 0.1,
            "eps": 0.1,
        },
        homogeneous=False,
    ),
    Row("db_mtl", tuned={"beta": 0.4, "beta_sigma": 0.3, "eps": 0.1}, duplicates=True),
    Row("excess_mtl", tuned={"robust_step_size": 0.2, "eps": 0.1}, duplicates=True),
    Row("momentum_config", duplicates=True),
    Row("trimmed_mean", min_tasks=3),
)
