"""Self-supervised tasks and few labels in settings, through a run."""

import dataclasses

import jax
import numpy as np
import pytest

from mtl_jax import build, build_data, config, data, run, tasks, trained

SUPERVISED = (
    config.TaskConfig("digit", "classification", label="label", num_outputs=10),
    config.TaskConfig("above", "binary", label="label", above=5),
)
AUXILIARY = (
    config.TaskConfig("clean", "denoising", args={"noise": "gaussian", "scale": 0.06}),
    config.TaskConfig("up", "rotation", head_features=(8,)),
    config.TaskConfig(
        "same", "contrastive", num_outputs=6, args={"augment": ["shift"]}
    ),
)
CONFIG = config.Config(
    "few",
    config.DataConfig("digits", labelled={"digit": 40, "above": 30}),
    (*SUPERVISED, *AUXILIARY),
    config.ModelConfig(trunk_args={"features": (16,), "input_scale": 0.06}),
    config.MethodConfig("uw"),
    train=config.TrainConfig(epochs=2, batch_size=64, parallel="jit", log_every=7),
)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("few")
    data.prepare("digits", data_dir=root)
    return root


def changed(settings, root, tasks=None, **of_data):
    of_data = dataclasses.replace(settings.data, data_dir=str(root), **of_data)
    chosen = settings.tasks if tasks is None else tasks
    return dataclasses.replace(settings, data=of_data, tasks=chosen)


def test_the_losses_of_a_run_fall(root, tmp_path):
    """The settings are those of a record, which is all that prediction has."""
    settings = changed(CONFIG, root, labelled_half=True)
    result = run.train_run(settings, tmp_path, level="error")
    rows = [r for r in result.history if r["split"] == "train"]
    for task in settings.tasks:
        assert rows[-1][f"{task.name}/loss"] < rows[0][f"{task.name}/loss"]
    assert {"clean/mae", "up/accuracy", "same/accuracy"} <= set(result.test)
    found = trained.predict_run(tmp_path, "test", task_names=["clean", "same"])
    assert found["clean/outputs"].shape[1:] == (64,)
    assert found["same/prediction"].shape[1:] == (6,)
    heads = {n: result.state.specific[f"heads_{n}"] for n in ("up", "same")}
    widths = {n: [len(p["bias"]) for p in h.values()] for n, h in heads.items()}
    assert widths == {"up": [8, 4], "same": [6, 6]}


def test_few_labels_follow_from_the_seed_and_are_of_training_alone(root):
    made = build.build_data(changed(CONFIG, root))
    again = build.build_data(changed(CONFIG, root))
    other = build.build_data(changed(dataclasses.replace(CONFIG, seed=1), root))
    masks = made.train.masks
    assert {n: int(m.sum()) for n, m in masks.items()} == {"label": 40, "above": 30}
    assert np.all(masks["label"][masks["above"]])  # one order for all labels
    np.testing.assert_array_equal(masks["label"], again.train.masks["label"])
    assert np.any(masks["label"] != other.train.masks["label"])
    assert not made.validation.masks and not made.test.masks
    half = build.build_data(changed(CONFIG, root, labelled_half=True)).train
    assert half.groups == (40, len(made.train) - 40)
    order = data.order(half, 64, seed=0)
    for step in range(3):
        assert half.take(order.indices(step))["masks"]["label"].sum() == 32
    rows = [
        sorted((x.tobytes(), int(y)) for x, y in zip(*pair, strict=True))
        for pair in (
            (made.train.inputs, made.train.labels["label"]),
            (half.inputs, half.labels["label"]),
        )
    ]
    assert rows[0] == rows[1]


def test_labels_that_were_missing_are_not_counted():
    source = data.ArraySource(
        np.eye(6), {"a": np.arange(6)}, {"a": np.array([1, 0, 1, 0, 1, 0], bool)}
    )
    few = data.few_labels(source, {"a": 2}, 0)
    assert few.masks["a"].sum() == 2 and not few.masks["a"][1::2].any()
    tags = np.where(np.arange(6)[:, None] < 4, [[-1, -1]], [[-1, 2]])
    none = dataclasses.replace(source, labels={"a": tags}, masks={})
    few = data.few_labels(none, {"a": 2}, 0, ignore={"a": -1})
    assert few.masks["a"].tolist() == [False] * 4 + [True] * 2
    task = config.TaskConfig("words", "tokens", label="a", num_outputs=3)
    settings = dataclasses.replace(
        CONFIG, data=config.DataConfig("x", labelled={"words": 3}), tasks=(task,)
    )
    with pytest.raises(ValueError, match=r"3 examples with the label 'a'.* has 2"):
        build_data._few_labels(none, settings, {})
    with pytest.raises(ValueError, match=r"4 examples with the label 'a'.* has 3"):
        data.few_labels(source, {"a": 4}, 0)
    with pytest.raises(ValueError, match="label of data"):
        data.few_labels(source, {"b": 4}, 0)
    with pytest.raises(ValueError, match=r"6 and 0 of them\. Take labelled_half away"):
        whole = dataclasses.replace(source, masks={})
        data.few_labels(whole, {"a": 6}, 0, half=True)


WRONG = {
    "needs none": {"labelled": {"up": 3}},
    "two counts, 3 and 4": {
        "labelled": {"digit": 3, "label": 4},
    },
    "is of the examples that data.labelled names": {
        "labelled": {},
        "labelled_half": True,
    },
}


@pytest.mark.parametrize("text", WRONG)
def test_errors_of_few_labels(text, root):
    with pytest.raises(ValueError, match=text):
        build.build_data(changed(CONFIG, root, **WRONG[text]))


def of(kind, **fields):
    return config.TaskConfig("x", kind, **fields)


@pytest.mark.parametrize(
    ("task", "text"),
    [
        (
            of("rotation", label="y"),
            "own labels, loss and metrics. Take label",
        ),
        (of("rotation", num_outputs=3), "which has 4 outputs; found num_outputs=3"),
        (of("rotation", args={"degrees": 90}), "does not take args {'degrees': 90}"),
        (of("masked"), "the data do not say how many outputs it has"),
        (of("binary", args={"share": 1}), "args {'share': 1}, which are of kinds"),
        (of("contrastive", args={"augment": [3]}), "args.augment of task 'x' has 3"),
        (of("contrastive"), "has no augmentations"),
    ],
)
def test_errors_of_tasks(task, text):
    with pytest.raises(ValueError, match=text):
        build.build_task(task, {})


def test_augmented_inputs_and_several_heads_are_refused():
    moved = dataclasses.replace(CONFIG.data, augment=("shift",))
    facts = {"tasks": {"clean": {"num_outputs": 64}}}
    with pytest.raises(ValueError, match=r"'shift' moves pixels, .* labels of clean"):
        build.build(dataclasses.replace(CONFIG, data=moved), facts)
    heads = dataclasses.replace(CONFIG.model, heads_per_task=2)
    with pytest.raises(ValueError, match="clean, up, same are self-supervised"):
        build.build(dataclasses.replace(CONFIG, model=heads), facts)


def test_the_size_of_a_vocabulary():
    text = (config.TaskConfig("word", "masked_tokens", args={"share": 0.2}),)
    of_text = config.ModelConfig(
        trunk="bag_of_embeddings", trunk_args={"width": 4}, head_features=()
    )
    settings = dataclasses.replace(CONFIG, tasks=text, model=of_text)
    tokens = {"tokens": np.ones((2, 5), np.int32)}
    facts = build.build_pretexts.with_sizes(text, tokens, {"model": {"vocabulary": 9}})
    made = build.build(settings, facts)
    variables = made.model.init(jax.random.key(0), tokens)
    assert variables.specific["heads_word"]["Dense_0"]["kernel"].shape == (4, 9)
    assert set(tasks.PRETEXTS) & set(tasks.KINDS) == set()
