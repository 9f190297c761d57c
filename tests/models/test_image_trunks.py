"""Trunks of images against NumPy, and against published numbers of parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from models.trunk_cases import IMAGES, B, drawn

from mtl_jax import models


def start(trunk, inputs=IMAGES):
    """Its variables in float64, none of them at its initial value."""
    return drawn(jax.eval_shape(trunk.init, jax.random.key(0), inputs), np.float64)


def check(trunk, variables, expected, inputs=IMAGES):
    found = jax.jit(trunk.apply)(variables, inputs)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def conv(x, layer, stride=1, dilation=1, pad=None):
    """Convolution `[B, H, W, C]`, zeros around it."""
    kernel = layer["kernel"]
    size = kernel.shape[0]
    reach = dilation * (size - 1)
    pad = reach // 2 if pad is None else pad
    x = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    height, width = (range(0, x.shape[axis] - reach, stride) for axis in (1, 2))
    out = np.zeros((x.shape[0], len(height), len(width), kernel.shape[3]))
    for i, row in enumerate(height):
        for j, column in enumerate(width):
            window = x[
                :,
                row : row + reach + 1 : dilation,
                column : column + reach + 1 : dilation,
            ]
            out[:, i, j] = np.einsum("bhwc,hwcd->bd", window, kernel)
    return out + layer.get("bias", 0)


def norm(x, params, stats):
    """BatchNorm in evaluation."""
    scale = params["scale"] / np.sqrt(stats["var"] + 1e-5)
    return (x - stats["mean"]) * scale + params["bias"]


def group_norm(x, params, groups):
    b, h, w, c = x.shape
    parts = x.reshape(b, h, w, groups, c // groups)
    mean = parts.mean((1, 2, 4), keepdims=True)
    var = parts.var((1, 2, 4), keepdims=True)
    parts = (parts - mean) / np.sqrt(var + 1e-5)
    return parts.reshape(x.shape) * params["scale"] + params["bias"]


def pool(x, size=2, stride=2, pad=0):
    x = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)), constant_values=-np.inf)
    height, width = (range(0, x.shape[axis] - size + 1, stride) for axis in (1, 2))
    rows = [
        [x[:, i : i + size, j : j + size].max((1, 2)) for j in width] for i in height
    ]
    return np.stack([np.stack(row, 1) for row in rows], 1)


def relu(x):
    return np.maximum(x, 0)


def test_cnn():
    trunk = models.CNN((4, 5), dense=(6,))
    variables = start(trunk)
    p = variables["params"]
    x = pool(relu(conv(IMAGES, p["Conv_0"])))
    x = pool(relu(conv(x, p["Conv_1"]))).reshape(B, -1)
    x = relu(x @ p["Dense_0"]["kernel"] + p["Dense_0"]["bias"])
    check(trunk, variables, x)


def test_cnn_with_batch_norm_and_the_mean():
    trunk = models.CNN((4, 5), dense=(), pooling="mean", batch_norm=True)
    variables = start(trunk)
    p, s = variables["params"], variables["batch_stats"]
    x = IMAGES
    for i in (0, 1):
        own = f"BatchNorm_{i}"
        x = pool(relu(norm(conv(x, p[f"Conv_{i}"]), p[own], s[own])))
    check(trunk, variables, x.mean((1, 2)))


def test_cnn_does_not_halve_a_pixel():
    with pytest.raises(ValueError) as error:
        models.CNN((8, 8, 8, 8)).init(jax.random.key(0), IMAGES)
    assert "halves the image 4 times and needs 16x16 pixels" in str(error.value)
    assert "found images (4, 8, 8, 3). Give fewer features." in str(error.value)


def test_dilated_cnn():
    trunk = models.DilatedCNN(4, (1, 2, 4))
    variables = start(trunk)
    x = IMAGES
    for i, dilation in enumerate((1, 2, 4)):
        x = relu(conv(x, variables["params"][f"Conv_{i}"], dilation=dilation))
    check(trunk, variables, x)


def test_what_a_pixel_sees_with_the_default_dilations():
    trunk = models.DilatedCNN(2, activation=lambda x: x)
    size, middle = 81, 40
    image = jnp.zeros((1, size, size, 1))
    params = jax.eval_shape(trunk.init, jax.random.key(0), image)
    params = jax.tree.map(lambda a: jnp.ones(a.shape), params)

    def pixel(image):
        return trunk.apply(params, image)[0, middle, middle, 0]

    seen = np.nonzero(np.asarray(jax.jit(jax.grad(pixel))(image)[0, :, middle, 0]))[0]
    assert (seen.min(), seen.max(), len(seen)) == (middle - 33, middle + 33, 67)


def test_resnet_of_basic_blocks():
    trunk = models.ResNet((1, 1), width=4)
    variables = start(trunk)
    p, s = variables["params"], variables["batch_stats"]

    def layer(x, i, stride=1, at=None):
        own, stats = (p, s) if at is None else (p[at], s[at])
        out = conv(x, own[f"Conv_{i}"], stride)
        return norm(out, own[f"BatchNorm_{i}"], stats[f"BatchNorm_{i}"])

    x = pool(relu(layer(IMAGES, 0, 2)), 3, 2, 1)
    assert x.shape == (B, 2, 2, 4)
    first, second = "stage0_block0", "stage1_block0"
    x = relu(x + layer(relu(layer(x, 0, at=first)), 1, at=first))
    y = layer(relu(layer(x, 0, 2, second)), 1, at=second)
    x = relu(y + layer(x, 2, 2, second))
    check(trunk, variables, x.mean((1, 2)))


def test_resnet_of_bottlenecks_with_group_norm():
    trunk = models.ResNet((1, 1), "bottleneck", 4, norm="group", stem="small")
    variables = start(trunk)
    p = variables["params"]

    def layer(x, i, stride=1, at=None):
        own = p if at is None else p[at]
        x = conv(x, own[f"Conv_{i}"], stride)
        groups = {4: 2, 8: 4, 16: 8, 32: 16}[x.shape[-1]]
        return group_norm(x, own[f"GroupNorm_{i}"], groups)

    x = relu(layer(IMAGES, 0))
    for stride, at in ((1, "stage0_block0"), (2, "stage1_block0")):
        y = relu(layer(x, 0, at=at))
        y = layer(relu(layer(y, 1, stride, at)), 2, at=at)
        x = relu(y + layer(x, 3, stride, at))
    assert x.shape == (B, 4, 4, 32)
    check(trunk, variables, x.mean((1, 2)))


@pytest.mark.parametrize(
    "trunk, width, published",
    [
        (models.resnet18, 512, 11_689_512),
        (models.resnet34, 512, 21_797_672),
        (models.resnet50, 2048, 25_557_032),
    ],
)
def test_published_numbers_of_parameters(trunk, width, published):
    images = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)

    def count(trunk):
        net = models.HardSharing(trunk, {"class": models.Head(1000)})
        variables = jax.eval_shape(net.init, jax.random.key(0), images)
        sizes = [leaf.size for leaf in jax.tree.leaves(variables["params"])]
        head = variables["params"]["heads_class"]["Dense_0"]["kernel"]
        return sum(sizes), head.shape[0]

    assert count(trunk()) == (published, width)
    # GroupNorm has as many parameters; the stem differs by its window.
    small = published - (7 * 7 - 3 * 3) * 3 * 64
    assert count(trunk(norm="group", stem="small")) == (small, width)


def layer_norm(x, p):
    mean, var = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return (x - mean) / np.sqrt(var + 1e-6) * p["scale"] + p["bias"]


def block(x, p):
    """A pre-norm transformer block."""
    y, a = layer_norm(x, p["LayerNorm_0"]), p["MultiHeadDotProductAttention_0"]
    q, k, v = (
        np.einsum("bld,dhe->blhe", y, a[n]["kernel"]) + a[n]["bias"]
        for n in ("query", "key", "value")
    )
    scores = np.einsum("blhe,bmhe->bhlm", q, k) / np.sqrt(q.shape[-1])
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    y = np.einsum("bhlm,bmhe->blhe", weights, v)
    x = x + np.einsum("blhe,hed->bld", y, a["out"]["kernel"]) + a["out"]["bias"]
    y = layer_norm(x, p["LayerNorm_1"])
    y = y @ p["Dense_0"]["kernel"] + p["Dense_0"]["bias"]
    y = 0.5 * y * (1 + np.tanh(np.sqrt(2 / np.pi) * (y + 0.044715 * y**3)))
    return x + y @ p["Dense_1"]["kernel"] + p["Dense_1"]["bias"]


@pytest.mark.parametrize("pooling", ["class", "mean"])
def test_vision_transformer(pooling):
    trunk = models.VisionTransformer(4, 6, 2, 2, pooling=pooling)
    variables = start(trunk)
    p = variables["params"]
    corners = [IMAGES[:, i : i + 4, j : j + 4] for i in (0, 4) for j in (0, 4)]
    x = np.stack([conv(c, p["patches"], pad=0)[:, 0, 0] for c in corners], 1)
    if pooling == "class":
        x = np.concatenate([np.tile(p["class"], (B, 1, 1)), x], 1)
    x = x + p["positions"]
    x = layer_norm(block(block(x, p["block0"]), p["block1"]), p["LayerNorm_0"])
    check(trunk, variables, x[:, 0] if pooling == "class" else x.mean(1))


def test_vision_transformer_says_what_does_not_fit():
    trunk = models.VisionTransformer(4, 6, 1, 2)
    variables = jax.eval_shape(trunk.init, jax.random.key(0), IMAGES)
    with pytest.raises(ValueError, match="positions for 5 patches; found images of 3"):
        jax.eval_shape(trunk.apply, variables, IMAGES[:, :4])
    with pytest.raises(ValueError, match=r"patch=3 pixels; found images \(4, 8, 8, 3"):
        trunk.clone(patch=3).init(jax.random.key(0), IMAGES)
    with pytest.raises(ValueError, match="width=6 has no heads=4 of equal width"):
        trunk.clone(heads=4).init(jax.random.key(0), IMAGES)
