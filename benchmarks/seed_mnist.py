"""The seed job in this library: `configs/mnist.py` over several seeds.

The counterpart of `seed_mnist_torch.py`: the same network, losses, optimizer, batches
and epochs, and the same table.

Command:

    python benchmarks/seed_mnist.py --seeds 0 1 2

MNIST must be prepared: `mtl-jax data prepare mnist --from DIR`.
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

from mtl_jax import build, config, report, train

CONFIG = Path(__file__).resolve().parents[1] / "configs" / "mnist.py"


def run(settings: config.Config, seed: int) -> dict[str, object]:
    """Train with one seed; test accuracies and seconds an epoch."""
    dataset, parts = build.build_data(settings), build.build(settings)
    started: list[float] = []
    ends: list[float] = []

    def on_step(step: int) -> None:
        if not started:
            started.append(time.perf_counter())  # the first step has compiled
        if step % (len(dataset.train) // settings.train.batch_size) == 0:
            ends.append(time.perf_counter())

    result = train.fit(
        parts.model,
        parts.tasks,
        dataset,
        method=parts.method,
        optimizer=build.build_optimizer(settings.optimizer, 1),
        epochs=settings.train.epochs,
        batch_size=settings.train.batch_size,
        seed=seed,
        log_every=settings.train.log_every,
        on_step=on_step,
    )
    times = [b - a for a, b in zip([*started, *ends], ends, strict=False)]
    return {
        "seed": seed,
        "test_accuracy": {
            t.name: result.test[f"{t.name}/accuracy"] for t in parts.tasks
        },
        "seconds_per_epoch": times,
    }


def main() -> None:
    """Run all seeds, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, help="default: the config's")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    options = parser.parse_args()
    settings = config.load(CONFIG)
    if options.epochs is not None:
        settings = config.override(settings, [f"train.epochs={options.epochs}"])
    runs = [run(settings, seed) for seed in options.seeds]
    for task in runs[0]["test_accuracy"]:  # type: ignore[attr-defined]
        values = [100 * r["test_accuracy"][task] for r in runs]  # type: ignore[index]
        spread = statistics.stdev(values) if len(values) > 1 else float("nan")
        print(f"{task:<18} {statistics.mean(values):.2f} ± {spread:.2f} %")
    seconds = [s for r in runs for s in r["seconds_per_epoch"]]  # type: ignore[attr-defined]
    print(f"{'seconds an epoch':<18} {statistics.median(seconds):.2f} (median)")
    if options.output is not None:
        record = {
            "environment": report.environment(),
            "command": sys.argv,
            "runs": runs,
        }
        options.output.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
