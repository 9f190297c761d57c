"""The seed job in plain PyTorch: two tasks on MNIST, written as a tutorial would.

Digit (ten classes) and "greater than five" (yes or no) share the trunk 784-512-256;
the loss is the plain sum of both. What the library's own run of the same job is
compared with. Nothing of the library is imported here.

Command:

    python benchmarks/seed_mnist_torch.py --data MNIST_DIR --seeds 0 1 2 --threads 1

MNIST_DIR holds the four original `*-ubyte.gz` files.

Measured result (PyTorch 2.13.0, one thread of an AMD EPYC, seeds 0 1 2, mean ± sample
standard deviation): test accuracy of digit 98.11 ± 0.17 %, of greater than five
98.79 ± 0.02 %; 2.6 ± 0.2 s an epoch.
"""

import argparse
import gzip
import json
import os
import platform
import statistics
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

TASKS = ("digit", "greater_than_five")


def read_idx(path: Path) -> np.ndarray:
    """The array of unsigned bytes that one gzipped idx file holds."""
    with gzip.open(path, "rb") as file:
        raw = file.read()
    dtype, dimensions = raw[2], raw[3]
    if raw[:2] != b"\0\0" or dtype != 8:
        raise ValueError(f"{path} is not an idx file of unsigned bytes.")
    shape = struct.unpack_from(f">{dimensions}I", raw, 4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def load(data: Path, split: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Inputs `[N, 784]` in 0..1, digits `[N]`, and greater-than-five `[N]`."""
    images = read_idx(data / f"{split}-images-idx3-ubyte.gz")
    labels = read_idx(data / f"{split}-labels-idx1-ubyte.gz")
    inputs = torch.from_numpy(images.reshape(len(images), -1).copy()).float() / 255
    digits = torch.from_numpy(labels.astype(np.int64))
    return inputs, digits, (digits > 5).float()


class TwoTasks(nn.Module):
    """A shared trunk with one linear head a task."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 256), nn.ReLU()
        )
        self.digit = nn.Linear(256, 10)
        self.greater = nn.Linear(256, 1)

    def forward(self, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits of the digit `[B, 10]` and of greater-than-five `[B]`."""
        shared = self.trunk(inputs)
        return self.digit(shared), self.greater(shared).squeeze(-1)


@torch.no_grad()
def accuracies(
    model: TwoTasks, data: tuple[torch.Tensor, torch.Tensor, torch.Tensor]
) -> dict[str, float]:
    """Share of right answers of each task, in 0..1."""
    inputs, digits, greater = data
    model.eval()
    digit_logits, greater_logits = model(inputs)
    model.train()
    right = (
        digit_logits.argmax(-1) == digits,
        (greater_logits > 0) == (greater > 0.5),
    )
    return {task: r.float().mean().item() for task, r in zip(TASKS, right, strict=True)}


def run(
    seed: int,
    train: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    test: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    *,
    epochs: int,
    batch_size: int,
    learning_rate: float,
) -> dict[str, Any]:
    """Train one seed; test accuracy after the last epoch and seconds an epoch."""
    torch.manual_seed(seed)
    inputs, digits, greater = train
    model = TwoTasks()
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
    digit_loss, greater_loss = nn.CrossEntropyLoss(), nn.BCEWithLogitsLoss()
    seconds = []
    for epoch in range(epochs):
        start = time.perf_counter()
        for rows in torch.randperm(len(inputs)).split(batch_size):
            digit_logits, greater_logits = model(inputs[rows])
            loss = 1.0 * digit_loss(digit_logits, digits[rows])
            loss = loss + 1.0 * greater_loss(greater_logits, greater[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        seconds.append(time.perf_counter() - start)
        print(
            f"seed {seed} epoch {epoch + 1}/{epochs}: {seconds[-1]:.1f} s",
            file=sys.stderr,
            flush=True,
        )
    return {
        "seed": seed,
        "test_accuracy": accuracies(model, test),
        "seconds_per_epoch": seconds,
    }


def machine() -> dict[str, Any]:
    """Processor model and count."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    return {"cpu": model, "cores": os.cpu_count(), "platform": platform.platform()}


def git_commit() -> str | None:
    """The commit this file lies in, None where git does not know."""
    try:
        answer = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return answer.stdout.strip()


def mean_std(values: list[float]) -> tuple[float, float]:
    """Mean and sample standard deviation (ddof=1; nan for a single value)."""
    spread = statistics.stdev(values) if len(values) > 1 else float("nan")
    return statistics.fmean(values), spread


def main() -> None:
    """Run all seeds, print the table, write the JSON file where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the idx .gz files")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=None, help="default: PyTorch's")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--output", type=Path, help="write a JSON record here")
    arguments = parser.parse_args()
    if arguments.threads is not None:
        torch.set_num_threads(arguments.threads)

    train, test = load(arguments.data, "train"), load(arguments.data, "t10k")
    settings = {
        "epochs": arguments.epochs,
        "batch_size": arguments.batch_size,
        "learning_rate": arguments.learning_rate,
    }
    runs = [run(seed, train, test, **settings) for seed in arguments.seeds]

    print(f"{'test accuracy, %':<20}{'mean':>8}{'std':>8}   seeds")
    for task in TASKS:
        values = [100 * r["test_accuracy"][task] for r in runs]
        mean, std = mean_std(values)
        listed = " ".join(f"{value:.2f}" for value in values)
        print(f"{task:<20}{mean:>8.2f}{std:>8.2f}   {listed}")
    mean, std = mean_std([statistics.fmean(r["seconds_per_epoch"]) for r in runs])
    print(f"{'seconds per epoch':<20}{mean:>8.2f}{std:>8.2f}")

    if arguments.output is not None:
        record = {
            "machine": machine() | {"threads": torch.get_num_threads()},
            "versions": {
                "python": platform.python_version(),
                "torch": torch.__version__,
                "numpy": np.__version__,
            },
            "git_commit": git_commit(),
            "command": " ".join(sys.argv),
            "settings": settings,
            "runs": runs,
        }
        arguments.output.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
