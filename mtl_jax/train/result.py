"""What training returns."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from mtl_jax import stacked, tasks
from mtl_jax.models.base import Model
from mtl_jax.train import evaluation
from mtl_jax.train.state import TrainState


@dataclass(frozen=True)
class FitResult:
    """A trained model and how it came about.

    Attributes:
        state: the last state.
        history: the rows of metrics of this call, `{"step": …, "epoch": …,
            "split": …, "task/metric": …}`.
        test: the metrics on the test split (or, without one, on the validation split)
            with the last state.
        model: the model.
        tasks: its tasks.
        workdir: where everything was saved, if it was.
    """

    state: TrainState
    history: list[dict[str, Any]]
    test: dict[str, float]
    model: Model
    tasks: tuple[tasks.Task, ...]
    workdir: Path | None

    @property
    def params(self) -> dict[str, Any]:
        """The trained parameters, as NumPy arrays.

        `{"shared": …, "specific": {head: …}}`; every head by name, also where heads
        that are alike are one array in the state.
        """
        params = {"shared": self.state.shared, "specific": self.state.specific}
        return stacked.named(jax.device_get(params))

    def outputs(
        self, inputs: np.ndarray, batch_size: int = 256
    ) -> dict[str, np.ndarray]:
        """Raw outputs `{task: [N, ...]}` for new inputs `[N, ...]`."""
        return evaluation.predict(self.model, self.state, inputs, batch_size=batch_size)

    def predict(
        self, inputs: np.ndarray, batch_size: int = 256
    ) -> dict[str, np.ndarray]:
        """Classes, 0 or 1, or values, `{task: [N, ...]}`, for new inputs `[N, ...]`."""
        outputs = self.outputs(inputs, batch_size)
        return {
            t.name: evaluation.decide(t, outputs[t.name])["prediction"]
            for t in self.tasks
        }
