"""What a text on the command line means, by the type of its key."""

import pytest

from mtl_jax import config


def targets_of(text):
    plain = config.Config("mine", config.DataConfig("table"))
    return config.override(plain, [f"data.targets={text}"]).data.targets


@pytest.mark.parametrize(
    ("text", "targets"),
    [
        ("casual,registered", ("casual", "registered")),
        (" casual , registered ", ("casual", "registered")),
        ("casual", ("casual",)),
        ("2024,2025", ("2024", "2025")),
        ("1e3", ("1e3",)),
        ("true,none", ("true", "none")),
        ("['a,b', 'c']", ("a,b", "c")),
        ("('a',)", ("a",)),
        ("", ()),
    ],
)
def test_a_text_for_a_list_of_texts_is_cut_at_commas(text, targets):
    assert targets_of(text) == targets


def test_lists_of_other_things_are_no_texts():
    with pytest.raises(ValueError, match=r"'data\.targets\[0\]' takes str; found 1"):
        targets_of("[1, 2]")
    with pytest.raises(ValueError, match=r"data\.targets' takes a list of str"):
        config.from_plain(config.DataConfig, {"name": "t", "targets": 3}, "data")
    made = config.from_plain(config.DataConfig, {"name": "t", "targets": "a,b"})
    assert made.targets == ("a", "b"), "in a config file too"


def test_lists_that_may_be_unset():
    plain = config.Config(
        "mine", config.DataConfig("table"), tasks=(config.TaskConfig("up", "binary"),)
    )
    metrics = config.override(plain, ["tasks.up.metrics=auc,f1"]).tasks[0].metrics
    assert metrics == ("auc", "f1")
    unset = config.override(plain, ["tasks.up.metrics=none"])
    assert unset.tasks[0].metrics is None
