"""From two loss functions and a bilevel method to gradients.

The method gets losses of the whole batch as plain functions of the parameters, which it
differentiates as it likes: through a step of the optimizer, or several. Where the sums
over the devices go is settled here, once, by `Reduce.replicated`.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from mtl_jax import tree
from mtl_jax.engine import forward
from mtl_jax.engine import losses as losses_module
from mtl_jax.engine.collectives import Reduce
from mtl_jax.engine.gradients import Gradients, LossFunction
from mtl_jax.typing import Array, PyTree
from mtl_jax.weighting import base


def bilevel_gradients(
    method: base.BilevelWeighting,
    train_losses: LossFunction,
    validation_losses: LossFunction,
    shared: PyTree,
    specific: PyTree,
    state: Any,
    *,
    optimizer: Any,
    descend: Callable[..., tuple[PyTree, Any]],
    key: Array | None = None,
    axis_name: str | None = None,
    epoch: Array | None = None,
    step: Array | None = None,
) -> Gradients:
    """Let a bilevel method look at training and validation losses.

    Args:
        method: the method.
        train_losses: a loss function of any form, on the training batch. Its
            collections are those of one pass at the present parameters.
        validation_losses: the same on the validation batch; its collections are not
            kept.
        shared: parameters that several losses depend on.
        specific: parameters of one task each.
        state: of the method.
        optimizer: the present state of the run's optimizer.
        descend: `(params, grads, optimizer, loss) -> (params, optimizer)`.
        key: PRNG key of the method, the same on all devices.
        axis_name: the data-parallel axis, under `pmap`.
        epoch: `[]` int32, for methods that look at epochs.
        step: `[]` int32.

    Returns:
        The gradients and all that came with them, equal on all devices.

    Example:
        >>> import optax
        >>> from mtl_jax.weighting import auto_lambda
        >>> def losses_at(target):
        ...     return lambda shared, specific: jnp.stack(
        ...         [(shared - target) ** 2, (shared + 5.0) ** 2])
        >>> def descend(params, grads, optimizer, loss):
        ...     updates = jax.tree.map(lambda g: -0.1 * g, grads)
        ...     return optax.apply_updates(params, updates), optimizer
        >>> method = auto_lambda(primary=[0], w_lr=0.05)
        >>> out = bilevel_gradients(
        ...     method, losses_at(1.0), losses_at(1.1), jnp.array(0.0), {},
        ...     method.init(2), optimizer=(), descend=descend)
        >>> [round(float(w), 3) for w in out.weights]
        [0.15, 0.05]
    """
    reduce = Reduce(axis_name)

    def means(
        losses_fn: LossFunction, params: PyTree
    ) -> tuple[Array, tuple[forward.Means, PyTree]]:
        function = losses_module.whole_function(losses_fn)
        out = losses_module.as_task_losses(function(*reduce.replicated(params)))
        batch = forward.means(out.sums, out.counts, reduce)
        return batch.losses, (batch, out.collections)

    params = (shared, specific)
    losses, vjp, (batch, collections) = jax.vjp(
        lambda p: means(train_losses, p), params, has_aux=True
    )
    problem = base.BilevelProblem(
        params=params,
        optimizer=optimizer,
        losses=losses,
        backward=lambda weights: vjp(weights.astype(losses.dtype))[0],
        train_losses=lambda p: means(train_losses, p)[0],
        validation_losses=lambda p: means(validation_losses, p)[0],
        # Of this forward pass nothing but the counts is used, and so computed.
        validation_mask=means(validation_losses, params)[1][0].present,
        descend=descend,
    )
    grads, weights, state = method.update(
        problem, state, key=key, mask=batch.present, epoch=epoch, step=step
    )
    weights = jnp.where(batch.present, weights, 0).astype(losses.dtype)
    return Gradients(
        shared=grads[0],
        specific=grads[1],
        losses=losses,
        weights=weights,
        present=batch.present,
        state=state,
        collections=collections,
        gramian=None,
        finite=tree.all_finite((losses, weights, grads)),
    )
