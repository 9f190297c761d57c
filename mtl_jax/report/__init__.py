"""What a person sees of a training run: rows, events, plots, the terminal.

Every sink takes the same flat metrics rows through `write(row)`:

    {"step": 200, "epoch": 1, "split": "train", "digit/loss": 0.31, ...}

`split` is "train", "validation" or "test"; a task's numbers are `task/metric`;
whatever else is a number (`examples_per_second`, `skipped_steps`) belongs to the
whole run. Importing this package imports no plotting and no terminal library.
"""

from mtl_jax.report.console import Console as Console
from mtl_jax.report.jsonl import JsonlWriter as JsonlWriter
from mtl_jax.report.plots import draw as draw
from mtl_jax.report.run_record import environment as environment
from mtl_jax.report.run_record import write_json as write_json
from mtl_jax.report.tensorboard import EventWriter as EventWriter
