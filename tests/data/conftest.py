"""Sets that are prepared once for all tests of a worker."""

from pathlib import Path

import pytest

from mtl_jax import data


@pytest.fixture(scope="session")
def digits_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tfds_digits")
    data.prepare("digits", data_dir=root)
    return root


@pytest.fixture(scope="session")
def mnist_source(shared_dir: Path) -> Path:
    folder = shared_dir / "data" / "mnist"
    if not folder.is_dir():
        pytest.skip("the four MNIST files are not in ../shared/data/mnist")
    return folder


@pytest.fixture(scope="session")
def mnist_root(mnist_source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tfds_mnist")
    data.prepare("mnist", source_dir=mnist_source, data_dir=root)
    return root
