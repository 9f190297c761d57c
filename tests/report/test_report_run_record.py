import datetime
import json
import shlex
import subprocess
import sys

import jax
import pytest

from mtl_jax.report import run_record


def git(folder, *words):
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    command = ["git", *identity, "-C", str(folder), *words]
    answer = subprocess.run(command, check=True, capture_output=True, text=True)
    return answer.stdout.strip()


@pytest.fixture
def repository(tmp_path):
    git(tmp_path, "init", "-q")
    return tmp_path


def test_the_record_says_what_ran_where(monkeypatch, repository):
    monkeypatch.chdir(repository)
    record = run_record.environment()
    assert json.loads(json.dumps(record)) == record
    assert record["versions"]["jax"] == jax.__version__
    assert set(record["versions"]) == {
        "mtl_jax",
        "jax",
        "jaxlib",
        "flax",
        "optax",
        "orbax-checkpoint",
        "tensorflow-datasets",
        "numpy",
    }
    assert None not in record["versions"].values()
    assert record["devices"]["count"] == jax.device_count() == 8
    assert record["devices"]["kind"] == "cpu"
    assert record["directory"] == str(repository.resolve())
    assert shlex.split(record["command"]) == [sys.executable, *sys.orig_argv[1:]]
    started = datetime.datetime.fromisoformat(record["started"])
    assert started.utcoffset() == datetime.timedelta(0)
    age = datetime.datetime.now(datetime.UTC) - started
    assert datetime.timedelta(0) <= age < datetime.timedelta(minutes=5)


def test_the_commit_tells_whether_files_differ(repository):
    assert run_record.git_commit(repository) is None  # no commit yet
    (repository / "a").write_text("1")
    git(repository, "add", "a")
    git(repository, "commit", "-q", "-m", "one")
    git(repository, "tag", "-a", "v1", "-m", "a tag does not take the commit's place")
    commit = git(repository, "rev-parse", "HEAD")
    (repository / "untracked").write_text("does not count")
    assert run_record.git_commit(repository) == commit
    (repository / "a").write_text("2")
    assert run_record.git_commit(repository) == f"{commit}-dirty"


def test_no_git_is_no_error(monkeypatch, tmp_path):
    assert run_record.git_commit(tmp_path) is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert run_record.git_commit() is None


def test_a_package_that_is_not_installed_is_none(monkeypatch):
    monkeypatch.setitem(run_record.DISTRIBUTIONS, "none", "no-such-distribution")
    assert run_record.environment()["versions"]["none"] is None


def test_json_is_sorted_finite_and_replaced_whole(tmp_path):
    path = tmp_path / "runs" / "run.json"
    run_record.write_json(
        path, {"b": float("nan"), "a": tmp_path, 3: jax.numpy.ones(2)}
    )
    text = path.read_text()
    assert json.loads(text) == {"3": [1.0, 1.0], "a": str(tmp_path), "b": None}
    assert text.index('"a"') < text.index('"b"') and text.endswith("}\n")

    class Bad:
        def __str__(self):
            raise RuntimeError("no text")

    with pytest.raises(RuntimeError):
        run_record.write_json(path, {"a": Bad()})
    assert path.read_text() == text and list(path.parent.iterdir()) == [path]
