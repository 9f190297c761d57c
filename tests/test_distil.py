"""Distillation: the term by hand, and a run through the command line."""

import dataclasses
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtl_jax import cli, config, data, losses, objective, run, tasks, trained

RNG = np.random.default_rng(0)


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def soft_cross_entropy(p, q):
    return -(p * np.log(q)).sum(-1)


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_classes_are_the_cross_entropy_of_soft_targets_less_their_entropy(temperature):
    student, teacher = RNG.normal(size=(2, 5, 4))
    p, q = softmax(teacher / temperature), softmax(student / temperature)
    wanted = temperature**2 * (soft_cross_entropy(p, q) - soft_cross_entropy(p, p))
    distance = losses.distance(losses.softmax_cross_entropy(), temperature)
    np.testing.assert_allclose(distance(student, teacher), wanted, rtol=1e-4)
    np.testing.assert_allclose(distance(teacher, teacher), 0, atol=1e-6)
    # The gradient of Hinton et al.: temperature times the change of probabilities.
    slope = jax.grad(lambda s: distance(s, jnp.asarray(teacher)).sum())
    found = slope(jnp.asarray(student, jnp.float32))
    np.testing.assert_allclose(found, temperature * (q - p), rtol=1e-3, atol=1e-6)


def test_questions_are_two_classes_and_numbers_squares():
    student, teacher = RNG.normal(size=(2, 5, 3))
    pair = [np.stack([np.zeros_like(x), x], -1) for x in (student, teacher)]
    q, p = softmax(pair[0] / 2), softmax(pair[1] / 2)
    wanted = 4 * (soft_cross_entropy(p, q) - soft_cross_entropy(p, p)).mean(1)
    for loss in (losses.sigmoid_cross_entropy(), losses.ordinal()):
        distance = losses.distance(loss, 2.0)
        np.testing.assert_allclose(distance(student, teacher), wanted, rtol=1e-4)
    for loss in (losses.mse(), losses.poisson(), losses.cosine()):
        found = losses.distance(loss, 2.0)(student, teacher)
        wanted = ((student - teacher) ** 2).mean(1)
        np.testing.assert_allclose(found, wanted, rtol=1e-5)
    assert not jax.grad(lambda t: distance(student, t).sum())(
        jnp.asarray(teacher)
    ).any()
    # Of several heads, one behind the other, the mean of their distances.
    heads = RNG.normal(size=(5, 2, 3))
    found = losses.distance(losses.mse(), members=2)(heads.reshape(5, 6), teacher)
    wanted = ((heads - teacher[:, None]) ** 2).mean((1, 2))
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_the_loss_of_a_task_with_a_teacher():
    """The mean over all that have a label or an answer."""
    how = tasks.Distillation("size, teacher", weight=0.5)
    taught = tasks.regression("size", distillation=how, weight=3.0)
    plain = tasks.regression("other")
    out, label, answer = RNG.normal(size=(3, 6)).astype(np.float32)
    labelled = np.array([1, 1, 0, 0, 1, 0], bool)
    answered = np.array([1, 0, 1, 1, 1, 0], bool)
    batch = {
        "labels": {"size": label, "other": label, "size, teacher": answer[:, None]},
        "masks": {"size": labelled, "size, teacher": answered, "other": labelled},
    }
    outputs = {"size": out[:, None], "other": out[:, None]}
    found = objective.task_losses([taught, plain], outputs, batch)
    both = labelled * (out - label) ** 2 + 0.5 * answered * (out - answer) ** 2
    counted = labelled | answered
    wanted = [3 * both[counted].mean(), ((out - label) ** 2)[labelled].mean()]
    np.testing.assert_allclose(found.sums / found.counts, wanted, rtol=1e-5)
    # Of two heads, each is taught as if it were alone.
    heads = RNG.normal(size=(6, 2)).astype(np.float32)
    several = dataclasses.replace(
        taught, loss=losses.of_members(taught.loss, 2, 1), num_outputs=1, members=2
    )
    found = objective.task_losses([several], {"size": heads}, batch)
    each = []
    for out in heads.T:
        each.append(labelled * (out - label) ** 2)
        each[-1] += 0.5 * answered * (out - answer) ** 2
    wanted = 3 * np.mean(each, axis=0)[counted].mean()
    np.testing.assert_allclose(found.sums / found.counts, wanted, rtol=1e-5)
    with pytest.raises(ValueError, match="no outputs of a teacher 'size, teacher'"):
        objective.task_losses([taught], outputs, {"labels": {"size": label}})
    with pytest.raises(ValueError, match=r"was given weight=0; it must be positive"):
        tasks.Distillation("x", weight=0)


def test_labels_that_are_missing_by_value_leave_the_distance_whole():
    """An answered example counts once, with all, some or none of its labels."""
    how = tasks.Distillation("q, teacher", weight=0.5)
    weighted = losses.sigmoid_cross_entropy(class_weights=(1.0, 3.0), ignore=-1)
    task = tasks.Task("q", weighted, distillation=how)
    labels = np.array([[1, 0, 1], [1, -1, -1], [-1, -1, -1], [0, 1, -1]])
    answered = np.array([1, 1, 1, 0], bool)
    out, answer = RNG.normal(size=(2, 4, 3)).astype(np.float32)
    batch = {
        "labels": {"q": labels, "q, teacher": answer},
        "masks": {"q, teacher": answered},
    }
    found = objective.task_losses([task], {"q": out}, batch)
    weight = np.where(labels == -1, 0, np.where(labels == 1, 3, 1))
    sign = np.where(labels == 1, -1, 1)
    values = (weight * np.log1p(np.exp(sign * out))).mean(1)
    apart = np.asarray(losses.distance(weighted)(out, answer))
    values = values + 0.5 * answered * apart
    counts = np.where(answered, 1, weight.mean(1))
    np.testing.assert_allclose(found.sums, [values.sum()], rtol=1e-5)
    np.testing.assert_allclose(found.counts, [counts.sum()], rtol=1e-5)


@pytest.mark.parametrize(
    ("theirs", "own", "wanted"),
    [
        ((10.0, 2.0), None, [10.0, 12.0]),
        (None, (10.0, 2.0), [-5.0, -4.5]),
        ((10.0, 2.0), (8.0, 4.0), [0.5, 1.0]),
    ],
)
def test_answers_are_in_the_units_of_the_student(theirs, own, wanted):
    both = [tasks.regression("a", units=units) for units in (own, theirs)]
    found = tasks.in_units_of(*both, np.array([0.0, 1.0], np.float32))
    np.testing.assert_allclose(found, wanted)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("distil")
    data.prepare("digits", data_dir=root / "data")
    run.train_run(settings(root, "train.epochs=8"), root / "teacher")
    return root


def settings(root, *changes):
    small = ["train.parallel=jit", "model.trunk_args.features=[32]", "train.epochs=4"]
    small += ["model.trunk_args.dropout=0.0"]
    fixed = [*small, f"data.data_dir={root}/data"]
    return config.override(config.load("configs/digits.py"), [*fixed, *changes])


def rows(workdir):
    return [json.loads(x) for x in (workdir / "metrics.jsonl").read_text().splitlines()]


def test_a_student_without_labels_learns_from_its_teacher_and_goes_on_exactly(
    root, tmp_path, capsys
):
    shutil.copytree(root / "teacher", tmp_path / "teacher")
    how = [f"distil.teacher={tmp_path}/teacher", "distil.labels=false", "seed=3"]
    how += [
        "optimizer.schedule=constant",
        "distil.tasks=digit",
        "distil.temperature=2",
        "train.log_every=19",
    ]
    whole = run.train_run(settings(root, *how), tmp_path / "whole")
    run.train_run(settings(root, *how, "train.epochs=2"), tmp_path / "part")
    shutil.rmtree(tmp_path / "teacher")  # its answers are in the student's work dir
    run.train_run(settings(root, *how), tmp_path / "part")
    assert rows(tmp_path / "part")[-1] == rows(tmp_path / "whole")[-1]
    scores = trained.evaluate_run(tmp_path / "whole", "test")
    teacher = trained.evaluate_run(root / "teacher", "test")
    assert scores["digit/accuracy"] > 0.6 * teacher["digit/accuracy"] > 0.4
    # The distance by itself: no label of the digit counted.
    first = next(r for r in rows(tmp_path / "whole") if r["split"] == "train")
    answers = np.load(tmp_path / "whole" / "teacher.npz")
    assert sorted(answers) == ["test/digit", "train/digit", "validation/digit"]
    task = next(t for t in whole.tasks if t.name == "digit")
    assert task.distillation == tasks.Distillation("digit, teacher", 1.0, 2.0)
    assert first["digit/loss"] > 0
    predicted = trained.predict_run(root / "teacher", "test")["digit/outputs"]
    np.testing.assert_allclose(answers["test/digit"], predicted, rtol=1e-4, atol=1e-4)


def test_errors(root, tmp_path):
    for changes, message in (
        (["distil.tasks=even"], "unknown task of distil.tasks 'even'"),
        (["tasks.digit.num_outputs=11"], "has 11 outputs, and 10 in the teacher"),
        (
            ["tasks.above_five.loss=mse", "distil.tasks=above_five"],
            "has the loss 'mse'",
        ),
        (["distil.temperature=0"], "given temperature=0.0; it must be positive"),
        (["distil.teacher=nowhere"], "nowhere is not the work dir of a run"),
    ):
        chosen = settings(root, f"distil.teacher={root}/teacher", *changes)
        with pytest.raises((ValueError, FileNotFoundError), match=message):
            run.train_run(chosen, tmp_path / "wrong")
    assert cli.main(["train", "configs/digits.py", "--set", "distil.teachers=x"]) == 2
