"""A keyword's error names the keyword, what was found and what is allowed."""

from __future__ import annotations

import pytest

from foreachonce.errors import ConfigurationError, ForeachOnceError
from foreachonce.keywords import flags, names, one_of, texts


def test_allowed_value_passes():
    one_of("mode", "merge", ["append", "merge"])


@pytest.mark.parametrize("value", ["upsert", "", None, 1, ["merge"], "MERGE"])
def test_other_value_is_refused_with_those_that_are_allowed(value):
    with pytest.raises(ConfigurationError) as caught:
        one_of("mode", value, ["append", "merge"])
    assert str(caught.value) == f"mode={value!r} is not known; it is one of 'append', 'merge'."


@pytest.mark.parametrize("value", ["orders", None, "a b", "таблица"])
def test_text_or_nothing_passes(value):
    texts(table=value)


@pytest.mark.parametrize("value", ["", " ", "\t\n", 5, b"orders", ["orders"], True])
def test_what_is_no_text_is_refused(value):
    with pytest.raises(ConfigurationError, match=r"^table=.* must be a text of at least one character"):
        texts(schema="fine", table=value)


@pytest.mark.parametrize(("value", "expected"), [
    (None, ()), ([], ()), ("id", ("id",)), (["id"], ("id",)), (("id", "day"), ("id", "day")), (["a b"], ("a b",)),
])  # fmt: skip
def test_names_are_one_or_several(value, expected):
    assert names("key", value) == expected


@pytest.mark.parametrize("value", [
    "", [""], ["id", "id"], ["id", 5], [None], [["id"]], b"id",
    5,
    True,
    0,
    False,
], ids=repr)  # fmt: skip
def test_what_are_no_names_is_refused(value):
    with pytest.raises(ConfigurationError, match=r"^key=.* must be column names, each once"):
        names("key", value)


def test_flag_is_true_or_false():
    flags(create_table=True)
    flags(create_table=False)


@pytest.mark.parametrize("value", ["no", "", None, 0, 1])
def test_what_is_no_flag_is_refused(value):
    with pytest.raises(ConfigurationError, match=rf"^create_table={value!r} must be True or False"):
        flags(create_table=value)


def test_configuration_error_is_a_value_error_of_the_librarys_family():
    assert issubclass(ConfigurationError, ValueError)
    assert issubclass(ConfigurationError, ForeachOnceError)
