"""Where a function multiplies its parameters, found in its jaxpr.

A per-task gradient of a weight `W` in `y = x W` is `xᵀ D_t`, with `D_t` the cotangent
of y. What only needs inner products of such gradients can do with x and D_t, and the
weight gradient is never made. This module finds the products in the jaxpr of any
function, so in any model, whatever it is written in. It runs the function again with
a zero, a *tap*, added to each y: the cotangents of the taps are the D_t.

It goes into `jit` and `jax.checkpoint`. A parameter that is used in another way as
well, or inside a loop, is *loose*: its gradient is made task by task.
"""

from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple, TypeAlias

import jax
from jax.extend.core import Jaxpr, Literal, Var

from mtl_jax.engine.convolutions import bind, opened
from mtl_jax.typing import Array

Values: TypeAlias = Sequence[Any]

PRODUCTS = ("dot_general", "conv_general_dilated", "gather")
"""Primitives that are linear in a weight and whose gradient is an outer product."""

_REARRANGE = (
    "broadcast_in_dim",
    "convert_element_type",
    "copy",
    "copy_p",
    "expand_dims",
    "name",
    "reshape",
    "rev",
    "squeeze",
    "transpose",
)
"""Primitives that keep every entry of a weight, in another place: inner products of
gradients stay the same."""

_JIT = ("jit", "pjit", "closed_call")
_CHECKPOINT = ("checkpoint", "remat", "remat2")


class Mark(NamedTuple):
    """A value that is a parameter, its entries rearranged."""

    param: int  # index of the leaf
    history: tuple[Hashable, ...]  # how it was rearranged


class Use(NamedTuple):
    """One product with a parameter."""

    mark: Mark
    primitive: str
    operand: int  # which operand is the parameter
    params: dict[str, Any]  # of the equation
    weight_shape: tuple[int, ...]  # rearranged, as it is used
    inputs: tuple[tuple[int, ...], ...]  # shapes of the other operands
    output: jax.ShapeDtypeStruct


class Tap:
    """What is noted and added at the products, in the order of the run.

    Args:
        added: a value to add to the outcome of the product of each number; products
            without one are left as they are.
    """

    def __init__(self, added: dict[int, Array] | None = None, start: int = 0):
        self.added = {} if added is None else added
        self.start, self.uses = start, list[Use]()
        self.loose = set[int]()
        self.inputs = dict[int, Values]()

    def product(self, use: Use, inputs: Values, outcome: Array) -> Array:
        """Note a product; its outcome with the tap added."""
        number = self.start + len(self.uses)
        self.uses.append(use)
        if number not in self.added:
            return outcome
        self.inputs[number] = inputs
        return outcome + self.added[number]

    def inner(self, added: dict[int, Array]) -> "Tap":
        """A tap for a function that is traced for itself, from here on."""
        return Tap(added, self.start + len(self.uses))

    def take(self, inner: "Tap", inputs: dict[int, Values]) -> None:
        """What an inner tap noted, with the values as they came out."""
        self.uses += inner.uses
        self.loose |= inner.loose
        self.inputs |= inputs


def run(
    jaxpr: Jaxpr, consts: Values, args: Values, marks: Sequence[Mark | None], tap: Tap
) -> tuple[list[Any], list[Mark | None]]:
    """Evaluate a jaxpr, noting what becomes of the marked arguments.

    Args:
        jaxpr: to evaluate.
        consts: its constants.
        args: its arguments.
        marks: which of the arguments are parameters.
        tap: is told of every product.

    Returns:
        The values of the jaxpr, and their marks.
    """
    values: dict[Var, Any] = dict(zip(jaxpr.constvars, consts, strict=True))
    values.update(zip(jaxpr.invars, args, strict=True))
    marked = {v: m for v, m in zip(jaxpr.invars, marks, strict=True) if m is not None}

    def mark_of(atom: Any) -> Mark | None:
        return None if isinstance(atom, Literal) else marked.get(atom)

    def value_of(atom: Any) -> Any:
        return atom.val if isinstance(atom, Literal) else values[atom]

    for eqn in jaxpr.eqns:
        ins, found = [value_of(a) for a in eqn.invars], [mark_of(a) for a in eqn.invars]
        with eqn.ctx.manager:
            outs, out_marks = _equation(eqn, ins, found, tap)
        for var, value, mark in zip(eqn.outvars, outs, out_marks, strict=True):
            values[var] = value
            if mark is not None:
                marked[var] = mark
    outcome = [value_of(a) for a in jaxpr.outvars]
    return outcome, [mark_of(a) for a in jaxpr.outvars]


def _equation(
    eqn: Any, ins: Values, marks: Sequence[Mark | None], tap: Tap
) -> tuple[list[Any], Sequence[Mark | None]]:
    """One equation: its values and their marks."""
    name = eqn.primitive.name
    if not any(marks):
        return bind(eqn, ins), [None] * len(eqn.outvars)
    if name in _JIT:
        inner, consts = opened(eqn.params.get("jaxpr", eqn.params.get("call_jaxpr")))
        return run(inner, consts, ins, marks, tap)
    if name in _CHECKPOINT:
        return _checkpointed(eqn, ins, marks, tap)
    if _rearranges(eqn):
        how = (name, tuple(sorted((k, str(v)) for k, v in eqn.params.items())))
        (mark,) = marks
        return bind(eqn, ins), [Mark(mark.param, (*mark.history, how))]  # type: ignore[union-attr]
    use = _use(eqn, marks)
    if use is None:
        tap.loose |= {mark.param for mark in marks if mark is not None}
        return bind(eqn, ins), [None] * len(eqn.outvars)
    others = [x for i, x in enumerate(ins) if i != use.operand]
    return [tap.product(use, others, bind(eqn, ins)[0])], [None]


def _checkpointed(
    eqn: Any, ins: Values, marks: Sequence[Mark | None], tap: Tap
) -> tuple[list[Any], Sequence[Mark | None]]:
    """Inside of `jax.checkpoint`: the inputs of products are kept, all else is not."""
    jaxpr, consts = opened(eqn.params["jaxpr"])
    notes: list[Any] = []

    def inside(ins: Values, added: dict[int, Array]) -> tuple[Any, Any]:
        inner = tap.inner(added)
        outs, out_marks = run(jaxpr, consts, ins, marks, inner)
        notes[:] = [inner, out_marks]
        return outs, inner.inputs

    again = jax.checkpoint(
        inside, prevent_cse=eqn.params["prevent_cse"], policy=eqn.params["policy"]
    )
    outs, inputs = again(list(ins), tap.added)
    inner, out_marks = notes
    tap.take(inner, inputs)
    return outs, out_marks


def _rearranges(eqn: Any) -> bool:
    if eqn.primitive.name not in _REARRANGE or len(eqn.invars) != 1:
        return False
    before, after = eqn.invars[0].aval, eqn.outvars[0].aval
    floating = jax.numpy.issubdtype(after.dtype, jax.numpy.floating)
    return before.size == after.size and floating


def _use(eqn: Any, marks: Sequence[Mark | None]) -> Use | None:
    """The product that an equation is, where its gradient is an outer product."""
    if eqn.primitive.name not in PRODUCTS or sum(m is not None for m in marks) != 1:
        return None
    operand = next(i for i, m in enumerate(marks) if m is not None)
    mark = marks[operand]
    assert mark is not None
    use = Use(
        mark,
        eqn.primitive.name,
        operand,
        eqn.params,
        tuple(eqn.invars[operand].aval.shape),
        tuple(tuple(a.aval.shape) for i, a in enumerate(eqn.invars) if i != operand),
        jax.ShapeDtypeStruct(eqn.outvars[0].aval.shape, eqn.outvars[0].aval.dtype),
    )
    return use if eqn.primitive.name != "conv_general_dilated" or operand == 1 else None
