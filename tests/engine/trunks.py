"""Trunks that the Gramian routes must agree on, for all that may go wrong."""

import flax.linen as nn
import jax
import jax.numpy as jnp


class Convolutions(nn.Module):
    """Strides, groups, dilation, 1x1, BatchNorm, dropout."""

    @nn.compact
    def __call__(self, x, train):
        x = nn.Conv(6, (3, 3), strides=2)(x)
        x = nn.relu(nn.BatchNorm(use_running_average=not train, momentum=0.9)(x))
        x = nn.Conv(6, (3, 3), feature_group_count=3, padding="VALID")(x)
        x = nn.Dropout(0.2, deterministic=not train)(nn.gelu(x))
        x = nn.Conv(4, (2, 2), kernel_dilation=(1, 2), padding=((1, 0), (2, 1)))(x)
        x = nn.ConvTranspose(4, (3, 3), strides=(2, 2))(x)
        x = nn.Conv(5, (1, 1), use_bias=False)(x)
        return nn.Dense(5)(nn.LayerNorm()(x.mean((1, 2))))


class Patches(nn.Module):
    """Windows that lie side by side, large windows, one dimension."""

    @nn.compact
    def __call__(self, x, train):
        a = nn.Conv(3, (4, 4), strides=(4, 4))(x).reshape(x.shape[0], -1)
        b = nn.Conv(3, (8, 7), padding="SAME", strides=3)(x).reshape(x.shape[0], -1)
        c = nn.Conv(3, (3,), padding="CIRCULAR")(x.reshape(x.shape[0], -1, 3))
        return nn.Dense(5)(jnp.tanh(jnp.concatenate([a, b, c.mean(1)], -1)))


class Attention(nn.Module):
    """Embeddings, positions, a transformer block, a weight with a batch of matrices."""

    @nn.compact
    def __call__(self, x, train):
        ids = (x[:, 0, :, 0] * 5).astype(jnp.int32) % 7
        x = nn.Embed(7, 8)(ids)
        x = x + self.param("positions", nn.initializers.normal(), x.shape[1:])
        y = nn.LayerNorm()(x)
        attention = nn.MultiHeadDotProductAttention(2, dropout_rate=0.1)
        x = x + attention(y, y, deterministic=not train)
        x = x + nn.Dense(8)(nn.gelu(nn.Dense(12)(nn.LayerNorm()(x))))
        mixers = self.param("mixers", nn.initializers.normal(), (2, 4, 4))
        parts = x.reshape(*x.shape[:2], 2, 4)
        return jnp.einsum("hio,blhi->blho", mixers, parts).reshape(*x.shape)[:, :, :5]


class Shared(nn.Module):
    """One layer used three times, at different places; a table used in two ways."""

    @nn.compact
    def __call__(self, x, train):
        x = x.reshape(x.shape[0], -1)
        again, table = nn.Dense(6), nn.Embed(9, 6)
        x = nn.Dense(6)(x)
        for _ in range(2):
            x = jnp.tanh(again(x))
        rows = jnp.stack([jnp.arange(3), jnp.arange(3) + 4])
        x = x + table(rows).sum((0, 1)) + again(x[:, None, :].repeat(2, 1)).sum(1)
        other = nn.Embed(4, 6)
        x = x + other(jnp.array([1, 1, 3])).sum(0) + other(jnp.array([2, 1])).sum(0)
        return table.attend(x)[:, :5]


class Unknown(nn.Module):
    """What is materialised: loops, weights that are computed, scales, a custom rule."""

    @nn.compact
    def __call__(self, x, train):
        x = x.reshape(x.shape[0], 8, -1)
        x = nn.RNN(nn.LSTMCell(5, param_dtype=x.dtype))(x)[:, -1]
        x = nn.WeightNorm(nn.Dense(5))(x)
        w = self.param("w", nn.initializers.normal(1.0), (5, 5))
        x = x @ (w + w.T) + (x @ w) @ w
        return x * self.param("scale", nn.initializers.ones, (5,))


class Rematerialised(nn.Module):
    """`nn.remat`, with and without a policy, inside `nn.jit`."""

    @nn.compact
    def __call__(self, x, train):
        x = x.reshape(x.shape[0], -1)
        x = nn.tanh(nn.remat(nn.Dense)(7)(x))
        policy = jax.checkpoint_policies.dots_saveable
        x = nn.tanh(nn.remat(nn.Dense, policy=policy)(7)(x))
        return nn.jit(nn.Dense)(5)(x)


class Scanned(nn.Module):
    """A scan over layers."""

    @nn.compact
    def __call__(self, x, train):
        x = nn.Dense(6)(x.reshape(x.shape[0], -1))

        def block(layer, x, _):
            return jnp.tanh(layer(x)), None

        scan = nn.scan(
            block,
            variable_axes={"params": 0},
            split_rngs={"params": True},
            length=3,
        )
        return scan(nn.Dense(6), x, None)[0][:, :5]


class Halves(nn.Module):
    """bfloat16 inside, float32 parameters."""

    @nn.compact
    def __call__(self, x, train):
        x = nn.Conv(6, (3, 3), dtype=jnp.bfloat16)(x)
        x = nn.Dense(5, dtype=jnp.bfloat16)(x.reshape(x.shape[0], -1))
        return x.astype(jnp.float32)


TRUNKS = {
    "convolutions": Convolutions,
    "patches": Patches,
    "attention": Attention,
    "shared": Shared,
    "unknown": Unknown,
    "rematerialised": Rematerialised,
    "scanned": Scanned,
}
