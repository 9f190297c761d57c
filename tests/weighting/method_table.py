"""One row a method: what it is called with and what its paper claims.

A new method gets its row here, and with it the whole contract and property suite.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp

from mtl_jax import weighting


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

    def make(self, **more: Any) -> weighting.Method:
        """The method as the contract suite calls it."""
        return weighting.make(self.name, **{**self.hyper, **more})

    def make_fixed(self) -> weighting.Method:
        """The method without randomness."""
        return self.make(**self.fixed)


TABLE = (
    Row("equal"),
    Row("static", hyper={"weights": jnp.arange(1.0, 5.0)}),
    Row("uw", tuned={"s_init": 0.3, "sgd_lr": 0.1}),
    Row("dwa", tuned={"temperature": 1.5}),
    Row("rlw", random=True),
    Row("famo", tuned={"w_lr": 0.1, "gamma": 1e-3, "min_losses": 0.1}),
    Row("mgda", non_conflicting=True),
    Row("pcgrad", fixed={"order": "ascending"}),
    Row("graddrop", tuned={"leak": 0.3}, random=True),
)


def num_tasks(row: Row) -> int | None:
    """The number of tasks that the row's hyper-parameters fix, if they do."""
    return len(row.hyper["weights"]) if "weights" in row.hyper else None
