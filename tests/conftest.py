"""Eight simulated CPU devices and strict numerics for every test."""

import os
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("MPLBACKEND", "Agg")

import jax
import pytest

jax.config.update("jax_num_cpu_devices", 8)

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder of real data and golden values beside a developer's checkout."""
    if not SHARED.is_dir():
        pytest.skip("the folder ../shared (golden values, real data) is not here")
    return SHARED
