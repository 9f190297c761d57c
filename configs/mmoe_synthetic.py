"""The synthetic tasks of the paper on mixtures of experts: what sharing costs.

Commands:

    mtl-jax train configs/mmoe_synthetic.py
    mtl-jax train configs/mmoe_synthetic.py --set data.args.correlation=1.0

Two regressions of one input whose weights have the cosine `correlation`, and a small
shared bottom, as in the paper. Measured on one core of an AMD EPYC: 8 s. Test split,
last epoch, RMSE (mean of both tasks), mean ± sample standard deviation over seeds 0, 1,
2, beside each task alone (the same network, steps and batches):

| correlation | joint | alone |
|---|---|---|
| 0.0 | 0.692 ± 0.030 | 0.601 ± 0.071 |
| 0.5 | 0.664 ± 0.085 | 0.605 ± 0.026 |
| 1.0 | 0.472 ± 0.081 | 0.601 ± 0.174 |

As in the paper, sharing hurts tasks that have little in common and helps those that are
alike. See `mtl_jax.data.recipes.mmoe_synthetic` for how the data are made.
"""

from mtl_jax.config import (
    Config,
    DataConfig,
    MethodConfig,
    ModelConfig,
    OptimizerConfig,
    TaskConfig,
    TrainConfig,
)


def get_config() -> Config:
    return Config(
        name="mmoe_synthetic",
        data=DataConfig(name="mmoe_synthetic", args={"correlation": 0.5}),
        tasks=(
            TaskConfig("first", "regression"),
            TaskConfig("second", "regression"),
        ),
        model=ModelConfig(
            trunk="mlp", trunk_args={"features": (16,)}, head_features=(8,)
        ),
        method=MethodConfig("equal"),
        optimizer=OptimizerConfig("adam", 1e-3, schedule="cosine"),
        train=TrainConfig(epochs=40, batch_size=128),
    )
