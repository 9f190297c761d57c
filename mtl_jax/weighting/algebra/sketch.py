"""A Gramian estimated from a few forward derivatives."""

from mtl_jax.typing import Array
from mtl_jax.weighting import base, checks
from mtl_jax.weighting.algebra import wrapping
from mtl_jax.weighting.algebra.ema import ema


def sketch(
    method: base.GramianWeighting, k: int = 16, beta: float | Array = 0.9
) -> base.GramianWeighting:
    """Let a method see an estimate of the Gramian, whose cost does not depend on T.

    With k random vectors v of independent signs ±1 over the shared parameters,

        Ĝ = (1/k) Σ (J v)(J v)ᵀ,   E Ĝ = J Jᵀ.

    `J v` is one forward derivative of all T losses together, so that a step costs k
    forward derivatives and one backward pass. The method sees the moving average
    `ema(·, β)` of the estimates.

    The error is large and falls slowly. For one entry,

        Var Ĝ_ij = (G_ii G_jj + G_ij² − 2 Σ_p J_ip² J_jp²) / k,

    so that the norms of the gradients are off by about `√(2/k)` of themselves, and a
    cosine that is small beside `1/√k` has a random sign. The average acts like
    `k (1 + β) / (1 − β)` vectors (19 k at 0.9) of gradients that no longer are those of
    this step. The estimate is positive semi-definite, of rank k at most before the
    average: with fewer vectors than tasks, a method that makes much of the null space
    of G (MGDA, Nash-MTL) finds one that is not there. This is a tool for research, for
    large T; `gramian="auto"` is exact, and for a trunk of dense layers seldom slower.

    Heads: the method's own.
    State: the average, and the method's.

    Args:
        method: a `GramianWeighting`. Where one has the Jacobian or the Gramian anyway
            (`aggregate`, `per_group`), it is used and nothing is estimated.
        k: vectors a step.
        beta: β of the average, in [0, 1).

    Returns:
        A `GramianWeighting`, which needs a key, and a model with a forward derivative.

    Raises:
        TypeError: another kind of method.
        ValueError: k below 1, or β out of range.

    Example:
        >>> from mtl_jax.weighting import mgda
        >>> sketch(mgda(), k=8).sketch
        8

    References:
        Hutchinson, A Stochastic Estimator of the Trace of the Influence Matrix for
        Laplacian Smoothing Splines, Communications in Statistics 1989; Baydin et al.,
        Gradients without Backpropagation, arXiv 2022.
    """
    wrapping.check_kind("sketch", method, base.GramianWeighting)
    checks.integer("sketch", "k", k, at_least=1)
    return ema(method, beta)._replace(sketch=k)
