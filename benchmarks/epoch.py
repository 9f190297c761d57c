"""Seconds an epoch of the seed job, beside PyTorch loops and a bare JAX step.

The job is `configs/mnist.py`, run by `train.fit` with all that it does beside the
steps: feed, metrics, the look at skipped steps. Its epoch is the time from the first
step to the last row of training metrics, which waits for the device; the evaluation is
left out. At the end of each of its epochs the others run one. They are

- the tutorial loop: a `Dataset` that scales an image when it is asked for it, as
  torchvision's does with `ToTensor` (and without its detour by PIL), `DataLoader`,
  Adam, `loss.item()`;
- tuned PyTorch: data in memory, fused Adam, no look at the loss;
- a bare JAX step: data on the device, one jitted function a step, written by hand.

Without MNIST in TFDS_DATA_DIR, random images of its shape take its place.

Command:

    python benchmarks/epoch.py --output epoch.json
"""

import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bench_peers
import bench_record
import bench_timing
import jax
import jax.numpy as jnp
import numpy as np
import optax

from mtl_jax import build, config, data, train

CONFIG = Path(__file__).resolve().parents[1] / "configs" / "mnist.py"
Epoch = Callable[[], None]


def measure(epochs: int = 5, examples: int | None = None) -> dict[str, float]:
    """Median seconds an epoch, of the library (`ours`) and of the others.

    Args:
        epochs: how many count; one more is run first.
        examples: of the training split; default: all.
    """
    settings = config.load(CONFIG)
    dataset = _dataset(settings, examples)
    arrays = dataset.train.take(np.arange(len(dataset.train)))
    others = {"bare JAX": bare_jax(arrays)}
    if bench_peers.torch_is_here():
        others |= {"tutorial": tutorial(arrays), "tuned PyTorch": tuned(arrays)}
    seconds: dict[str, list[float]] = {name: [] for name in ["ours", *others]}
    size, parts = settings.train.batch_size, build.build(settings)

    class Between:
        """Takes the time between rows of metrics, and lets the others run."""

        def __init__(self) -> None:
            self.start = self.end = bench_timing.now()

        def write(self, row: dict[str, Any]) -> None:
            if row["split"] == "train":  # the last one of an epoch counts
                self.end = bench_timing.now()
                return
            seconds["ours"].append(self.end - self.start)
            for name, epoch in others.items():
                seconds[name].append(bench_timing.seconds(epoch))
            self.start = bench_timing.now()

    train.fit(
        parts.model,
        parts.tasks,
        dataset,
        method=parts.method,
        optimizer=build.build_optimizer(settings.optimizer, 1),
        epochs=epochs + 1,
        batch_size=size,
        log_every=settings.train.log_every,
        make_sinks=lambda step: [Between()],
    )
    return {name: statistics.median(values[1:]) for name, values in seconds.items()}


def bare_jax(arrays: Any, size: int = 64) -> Epoch:
    """The same network, losses and optimizer, without the library."""
    inputs = jax.device_put(arrays["inputs"].reshape(len(arrays["inputs"]), -1))
    digits = jax.device_put(arrays["labels"]["label"].astype(np.int32))
    random, optimizer = np.random.default_rng(0), optax.adam(1e-3)

    def init(key: Any) -> Any:
        widths = [inputs.shape[1], 512, 256, 11]  # ten digits, and greater than five
        keys = jax.random.split(key, 3)
        pairs = list(zip(keys, widths[:-1], widths[1:], strict=True))
        lecun = jax.nn.initializers.lecun_normal()
        return [(lecun(k, (i, o)), jnp.zeros(o)) for k, i, o in pairs]

    def loss(params: Any, x: Any, y: Any) -> Any:
        *trunk, (kernel, bias) = params
        for weights, offset in trunk:
            x = jax.nn.relu(x @ weights + offset)
        logits = x @ kernel + bias
        cross = optax.softmax_cross_entropy_with_integer_labels(logits[:, :10], y)
        above = (y > 5).astype(logits.dtype)
        return (
            cross.mean()
            + optax.sigmoid_binary_cross_entropy(logits[:, 10], above).mean()
        )

    def step(params: Any, moments: Any, rows: Any, data: Any) -> Any:
        x, y = data[0][rows] * jnp.float32(1 / 255), data[1][rows]
        value, grads = jax.value_and_grad(loss)(params, x, y)
        updates, moments = optimizer.update(grads, moments, params)
        return optax.apply_updates(params, updates), moments, value

    step = jax.jit(step, donate_argnums=(0, 1))
    state: list[Any] = [init(jax.random.key(0))]
    state.append(optimizer.init(state[0]))

    def epoch() -> None:
        order = random.permutation(len(inputs)).astype(np.int32)
        for start in range(0, len(order) - size + 1, size):
            rows = order[start : start + size]
            *state[:], value = step(*state, rows, (inputs, digits))
        jax.block_until_ready(value)

    return epoch


def tutorial(arrays: Any, size: int = 64) -> Epoch:
    """As a tutorial of PyTorch would write it."""
    import torch

    model, (_, digits, greater), losses = _torch(arrays)
    images = arrays["inputs"]

    class Images(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return len(images)

        def __getitem__(self, index: int) -> Any:
            image = torch.from_numpy(images[index]).float().div(255).flatten()
            return image, digits[index], greater[index]

    batches = torch.utils.data.DataLoader(
        Images(), batch_size=size, shuffle=True, drop_last=True
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def epoch() -> None:
        total = 0.0
        for inputs, digits, greater in batches:
            optimizer.zero_grad()
            loss = losses(model(inputs), digits, greater)
            loss.backward()
            optimizer.step()
            total += loss.item()

    return epoch


def tuned(arrays: Any, size: int = 64) -> Epoch:
    """Data in memory, fused Adam."""
    import torch

    model, (inputs, digits, greater), losses = _torch(arrays)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)

    def epoch() -> None:
        order = torch.randperm(len(inputs))
        for rows in order[: len(order) // size * size].split(size):
            optimizer.zero_grad()
            losses(model(inputs[rows]), digits[rows], greater[rows]).backward()
            optimizer.step()

    return epoch


def _torch(arrays: Any) -> tuple[Any, Any, Any]:
    """The network of `seed_mnist_torch.py`, the data as tensors, the loss."""
    import seed_mnist_torch
    import torch
    from torch.nn import functional

    torch.set_num_threads(1)
    images = arrays["inputs"].reshape(len(arrays["inputs"]), -1)
    digits = torch.from_numpy(arrays["labels"]["label"].astype(np.int64))
    tensors = torch.from_numpy(images).float() / 255, digits, (digits > 5).float()

    def losses(outputs: Any, digits: Any, greater: Any) -> Any:
        above = functional.binary_cross_entropy_with_logits(outputs[1], greater)
        return functional.cross_entropy(outputs[0], digits) + above

    return seed_mnist_torch.TwoTasks(), tensors, losses


def _dataset(settings: Any, examples: int | None) -> data.Dataset:
    try:
        if examples is not None:
            raise FileNotFoundError
        return build.build_data(settings)
    except FileNotFoundError:
        if examples is None:
            print("MNIST is not prepared; random images of its shape take its place")
        random = np.random.default_rng(0)

        def split(n: int) -> tuple[Any, Any]:
            labels = random.integers(10, size=n)
            made = {"label": labels}
            for task in settings.tasks:
                if task.above is not None:
                    made[task.name] = (labels > task.above).astype(np.float32)
            images = random.integers(256, size=(n, 28, 28, 1)).astype(np.uint8)
            return images, made

        return data.from_splits(split(examples or 60_000), test=split(64))


def rows(seconds: dict[str, float]) -> list[dict[str, Any]]:
    """The table: seconds, and each side as a multiple of the library's time."""
    ours = seconds["ours"]
    return [
        {"loop": name, "s an epoch": value, "/ ours": value / ours}
        for name, value in seconds.items()
    ]


def main() -> int:
    """Measure, print the table, write the JSON."""
    parser = bench_record.parser(__doc__, ("cpu", "tiny"))
    parser.add_argument("--epochs", type=int, default=5)
    options = bench_record.begin(parser)
    tiny = options.preset == "tiny"
    seconds = measure(1, 256) if tiny else measure(options.epochs)
    bench_record.table(rows(seconds))
    bench_record.finish(options, rows(seconds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
