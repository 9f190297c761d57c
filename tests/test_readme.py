"""Every command and code block of the README and docs runs as it stands."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.S)
PYTHON = [text for language, text in BLOCKS if language == "python"]
DOCS = {
    f"{path.stem}-{i}": text
    for path in sorted((ROOT / "docs").glob("*.md"))
    for i, text in enumerate(re.findall(r"```python\n(.*?)```", path.read_text(), re.S))
}
COMMANDS = [
    line
    for language, text in BLOCKS
    if language == "bash"
    for line in text.strip().splitlines()
] + [
    line
    for path in sorted((ROOT / "docs").glob("*.md"))
    for text in re.findall(r"```bash\n(.*?)```", path.read_text(), re.S)
    for line in text.strip().splitlines()
]
INSTALLS = [c for c in COMMANDS if c.startswith("pip install")]
MAIN_JOB = "mtl-jax train configs/digits.py"


def environment(tmp_path):
    return {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "MPLBACKEND": "Agg",
        "TFDS_DATA_DIR": str(tmp_path / "data"),
        "PYTHONWARNINGS": "default",
    }


def run(command, cwd, tmp_path):
    """One command, with this Python's mtl-jax and nothing else changed."""
    words = shlex.split(command)
    python = [sys.executable] if words[0] == "python" else [sys.executable, "-m"]
    assert words[0] in ("python", "mtl-jax"), command
    if words[0] == "mtl-jax":
        words.insert(1, "mtl_jax")
    return subprocess.run(
        [*python, *words[1:]],
        cwd=cwd,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture
def folder(tmp_path):
    """A place with the configs and a table, where runs may be written."""
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    rows = [f"{40 + n % 90},{n % 4},{['gas', 'oil'][n % 2]}" for n in range(300)]
    (tmp_path / "houses.csv").write_text("\n".join(["price,rooms,heating", *rows]))
    return tmp_path


def test_the_two_promised_commands_are_there():
    assert [
        f"pip install -e . && {MAIN_JOB}",
        "pip install -e '.[test]' && pytest",
    ] == INSTALLS
    ci = (ROOT / ".ci" / "run").read_text()
    assert "pip install -e '\\.\\[test\\]' && pytest" in ci


@pytest.mark.parametrize(
    "text",
    [*PYTHON, *DOCS.values()],
    ids=[*(f"README-{i}" for i in range(len(PYTHON))), *DOCS],
)
def test_python_blocks(text, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", text],
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_the_quickstart_is_about_twenty_lines():
    lines = [x for x in PYTHON[0].splitlines() if x.strip()]
    assert len(lines) <= 25


@pytest.mark.slow
def test_the_main_job_reaches_what_it_promises(folder):
    done = run(MAIN_JOB, folder, folder)
    assert done.returncode == 0, done.stderr
    import json

    rows = (folder / "runs/digits-equal-0/metrics.jsonl").read_text().splitlines()
    last = json.loads(rows[-1])
    assert last["split"] == "test"
    assert last["digit/accuracy"] >= 0.96
    assert last["above_five/accuracy"] >= 0.96


@pytest.mark.slow
def test_commands_in_order(folder, shared_dir):
    plain = [c for c in COMMANDS if c not in INSTALLS]
    assert len(plain) >= 8
    for command in plain:
        if "configs/mnist.py" in command:
            command += " --set train.epochs=1"
        command = command.replace("--from DIR", f"--from {shared_dir / 'data/mnist'}")
        done = run(command, folder, folder)
        assert done.returncode == 0, (command, done.stderr)
        assert done.stdout.strip(), command
    assert (folder / "predictions.npz").is_file()
