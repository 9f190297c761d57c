"""Convolutions that stay fast inside of loops and branches on a CPU.

XLA's CPU backend brings convolutions into the order of dimensions that its fast
kernel knows, but only in the body of the program: inside of `scan`, `while` and `cond`
the gradient of a convolution with respect to its weights falls back to a plain loop
nest, 50 times slower and more. Written in that order from the start, it is fast
anywhere.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax.extend.core import Jaxpr, Literal, Var

F = TypeVar("F", bound=Callable[..., Any])


def fast_in_loops(function: F) -> F:
    """A function to loop over, or to branch to, with its convolutions rewritten.

    It computes the same. Wrap what a loop or branch is given, behind all
    differentiation and `vmap`, which write new convolutions. On other backends nothing
    changes.

    Example:
        >>> body = fast_in_loops(lambda carry, x: (carry + x, None))
        >>> float(jax.lax.scan(body, 0.0, jnp.arange(3.0))[0])
        3.0
    """
    if jax.default_backend() != "cpu":
        return function

    def rewritten(*args: Any) -> Any:
        closed, shapes = jax.make_jaxpr(function, return_shape=True)(*args)
        if not has_convolution(closed.jaxpr):
            return function(*args)
        outs = _run(closed.jaxpr, closed.consts, jax.tree.leaves(args))
        return jax.tree.unflatten(jax.tree.structure(shapes), outs)

    return rewritten  # type: ignore[return-value]


def has_convolution(jaxpr: Jaxpr) -> bool:
    """Whether there is a convolution in a jaxpr, or in one of those inside it."""
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == "conv_general_dilated":
            return True
        inner = (getattr(value, "jaxpr", value) for value in _values(eqn.params))
        if any(isinstance(j, Jaxpr) and has_convolution(j) for j in inner):
            return True
    return False


def _values(params: dict[str, Any]) -> Iterator[Any]:
    """The parameters of an equation, those in sequences too."""
    for value in params.values():
        yield from value if isinstance(value, list | tuple) else (value,)


def opened(closed: Any) -> tuple[Jaxpr, Sequence[Any]]:
    """A jaxpr and its constants, in whichever of the two forms JAX has it."""
    return getattr(closed, "jaxpr", closed), getattr(closed, "consts", ())


def bind(eqn: Any, ins: Sequence[Any]) -> list[Any]:
    """The outcome of an equation for other inputs."""
    params = eqn.primitive.get_bind_params(eqn.params)
    functions, params = params if isinstance(params, tuple) else ((), params)
    outs = eqn.primitive.bind(*functions, *ins, **params)
    return list(outs) if eqn.primitive.multiple_results else [outs]


def _run(jaxpr: Jaxpr, consts: Sequence[Any], args: Sequence[Any]) -> list[Any]:
    values: dict[Var, Any] = dict(zip(jaxpr.constvars, consts, strict=True))
    values.update(zip(jaxpr.invars, args, strict=True))

    def value_of(atom: Any) -> Any:
        return atom.val if isinstance(atom, Literal) else values[atom]

    for eqn in jaxpr.eqns:
        ins = [value_of(a) for a in eqn.invars]
        with eqn.ctx.manager:
            if eqn.primitive.name == "conv_general_dilated":
                outs = [_convolution(*ins, **eqn.params)]
            elif eqn.primitive.name in ("jit", "pjit"):
                outs = _run(*opened(eqn.params["jaxpr"]), ins)
            else:
                outs = bind(eqn, ins)
        values.update(zip(eqn.outvars, outs, strict=True))
    return [value_of(a) for a in jaxpr.outvars]


def _convolution(x: Any, w: Any, *, dimension_numbers: Any, **params: Any) -> Any:
    """With examples first and features last, and weights `[…, inputs, outputs]`."""
    first, weights, last = ((spec[0], *spec[2:], spec[1]) for spec in dimension_numbers)
    out_features, spatial, in_features = weights[0], weights[1:-1], weights[-1]
    rank = len(first)
    space = tuple(range(1, rank - 1))
    canonical = jax.lax.ConvDimensionNumbers(
        (0, rank - 1, *space),
        (rank - 1, rank - 2, *range(rank - 2)),
        (0, rank - 1, *space),
    )
    out = jax.lax.conv_general_dilated_p.bind(
        jnp.transpose(x, first),
        jnp.transpose(w, (*spatial, in_features, out_features)),
        dimension_numbers=canonical,
        **params,
    )
    order = [0] * rank
    for position, dimension in enumerate(last):
        order[dimension] = position
    return jnp.transpose(out, order)
