"""Several training steps in one compiled call.

A call runs as many steps as it is told to, up to a limit: the number is an argument of
the program and not a part of it. So one program serves the full calls, the shorter
ones before a row of metrics or the end of an epoch, and a resumed run; and how steps
are grouped into calls changes no number.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mtl_jax import parallel as data_parallel
from mtl_jax import tree
from mtl_jax.engine.convolutions import fast_in_loops
from mtl_jax.train.compiled import Step, StepOutput
from mtl_jax.train.state import TrainState
from mtl_jax.typing import Array, Batch, PyTree

MOST = 128
"""Steps of a call where nobody says another number."""

SECONDS = 0.2
"""How long a call should take then: so long Ctrl-C and the progress bar wait."""

SENT = 2**25
"""Bytes that are sent for a call then, at most."""


class Calls:
    """How many steps the next call has.

    Args:
        most: steps of a call at most.
        stops: a call ends at every multiple of these steps.
        last: the last step.
        paced: whether a call takes no more than `SECONDS`, as far as is known; the
            first ones have one step.

    Example:
        >>> calls = Calls(8, (5, 20), 23, paced=False)
        >>> calls.length(0), calls.length(20)
        (5, 3)
    """

    def __init__(self, most: int, stops: Sequence[int], last: int, *, paced: bool):
        self.most, self._stops, self._last = most, tuple(stops), last
        self._paced, self._now = paced, 1 if paced else most

    def length(self, step: int) -> int:
        """The steps of the call that begins after `step`."""
        ends = [stop - step % stop for stop in self._stops]
        return min(self._now, self._last - step, *ends)

    def measured(self, steps: int, seconds: float) -> None:
        """So many steps took so long, on the devices too."""
        if self._paced:
            number = int(SECONDS * steps / max(seconds, 1e-9))
            self._now = min(max(number, 1), self.most)


def most_steps(asked: int | None, stops: Sequence[int], sent: int) -> int:
    """The steps of a call at most.

    Args:
        asked: `None`: as many as pay.
        stops: a call ends at every multiple of these steps.
        sent: bytes that are sent to the devices for a step.

    Raises:
        ValueError: less than one step.
    """
    if asked is not None:
        if asked < 1:
            raise ValueError(f"steps_per_call is {asked}; a call has at least 1 step")
        return asked
    return max(1, min(MOST, SENT // max(sent, 1), *stops))


def make_call(
    step: Step, pick: Callable[[PyTree, PyTree], Batch], loop: bool
) -> Callable[..., tuple[TrainState, StepOutput]]:
    """A function of several steps, for `parallel.wrap_call`.

    The steps run without a look at the state that each leaves behind; the last one is
    looked at. Where it is not finite, all are run again with care, which skips the bad
    one. (What is not finite in a state stays so.)

    Args:
        step: the step.
        pick: `(resident, part) -> batch`.
        loop: whether a call may have more steps than one.

    Returns:
        `(state, resident, parts [k, ...], count, axis_name) -> (state, output)` of the
        last of `count` steps.
    """

    def call(
        state: TrainState,
        resident: PyTree,
        parts: PyTree,
        count: Array,
        axis_name: str | None,
    ) -> tuple[TrainState, StepOutput]:
        def batch(i: Any) -> Batch:
            return pick(resident, jax.tree.map(lambda a: a[i], parts))

        if not loop:
            return step(state, batch(0), axis_name)

        # Traced once, though it is asked for its shapes as well.
        @jax.jit
        def one(state: TrainState, batch: Batch, careful: Array) -> Any:
            return step(state, batch, axis_name, careful)

        def run(careful: Array) -> tuple[TrainState, StepOutput]:
            body = fast_in_loops(lambda i, done: one(done[0], batch(i), careful))
            return jax.lax.fori_loop(0, count, body, begin)

        def attempt(before: tuple[Any, Array, Array]) -> tuple[Any, Array, Array]:
            _, careful, _ = before
            done = run(careful)
            return done, jnp.array(True), careful | tree.stays_finite(state, done[0])

        no = jnp.array(False)
        _, like = jax.eval_shape(one, state, batch(0), no)
        begin = (state, jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), like))
        attempts = (begin, no, no)
        return jax.lax.while_loop(lambda carry: ~carry[2], attempt, attempts)[0]

    return call


def compile_step(
    step: Step, steps_per_call: int, parallel: str, devices: Sequence[Any] | None
) -> Callable[[TrainState, Batch], tuple[TrainState, StepOutput]]:
    """A step of `make_train_step`, compiled for one device or several."""
    count = most_steps(steps_per_call, (), 0)
    devices = data_parallel.resolve(parallel, devices)
    if count == 1:
        run = data_parallel.wrap_step(step, devices)
    else:
        call = make_call(step, lambda _, part: part, loop=True)
        run_parts = data_parallel.wrap_call(call, devices)

        def run(state: TrainState, batch: Batch) -> tuple[TrainState, StepOutput]:
            check_leading(batch, count)
            parts = data_parallel.place_parts(batch, devices)
            return run_parts(state, (), parts, np.int32(count))

    def placed(state: TrainState, batch: Batch) -> tuple[TrainState, StepOutput]:
        if state.step.sharding.device_set != set(devices):
            state = data_parallel.place(state, devices)
        return run(state, batch)

    return placed


def check_leading(batch: Batch, count: int) -> None:
    """Raise `ValueError` where a batch is not one of so many steps."""
    for leaf in jax.tree.leaves(batch):
        if np.shape(leaf)[:1] != (count,) or np.ndim(leaf) < 2:
            raise ValueError(
                f"steps_per_call={count} takes the batches of {count} steps at once, "
                f"leaves [{count}, B, ...]; found one of shape {list(np.shape(leaf))}. "
                "Stack them, or use steps_per_call=1"
            )
