"""Arrays of pyproject.toml as text: elements, replaced, removed and inserted ones, by tables."""

import pytest
from targcc_gen.sync.pyproject import (
    Element,
    ListEdit,
    elements,
    inserted,
    name_of,
    parsed,
    removed,
    replaced,
    same,
)

LINES = '[\n  "a",\n  "b", # why\n  "c"\n]'


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        ("[]", []),
        ("[1]", [("1", None, "")]),
        ("[1, 22]", [("1", 3, ""), ("22", None, "")]),
        ("[1,]", [("1", 3, "")]),
        ("[[1, 2], 3]", [("[1, 2]", 8, ""), ("3", None, "")]),
        ("[{a = 1, b = [2]}]", [("{a = 1, b = [2]}", None, "")]),
        ('["x,]#"]', [('"x,]#"', None, "")]),
        (LINES, [('"a"', 8, ""), ('"b"', 15, "# why"), ('"c"', None, "")]),
        ("[\n  1 # one\n  , 2\n]", [("1", 15, ""), ("2", None, "")]),
        ("[\n  # first\n  1,\n]", [("1", 16, "")]),
        ("[\n  1,\n  # below\n]", [("1", 6, "")]),
        ("[\n  1, # one\n  # below\n]", [("1", 6, "# one")]),
    ],
)
def test_the_elements_of_an_array(array, expected):
    result = elements(array)
    assert [(item.text, item.comma, item.comment) for item in result] == expected
    assert all(array[item.start : item.end] == item.text for item in result)


@pytest.mark.parametrize(
    ("array", "index", "left"),
    [
        ("[1]", 0, "[]"),
        ("[1, 2]", 0, "[2]"),
        ("[1, 2]", 1, "[1]"),
        ("[1, 2, 3]", 1, "[1, 3]"),
        (LINES, 0, '[\n  "b", # why\n  "c"\n]'),
        (LINES, 1, '[\n  "a",\n  "c"\n]'),
        (LINES, 2, '[\n  "a",\n  "b", # why\n]'),
        ("[\n  1, 2,\n  3,\n]", 0, "[\n  2,\n  3,\n]"),
        ("[\n  1, 2,\n  3,\n]", 1, "[\n  1, 3,\n]"),
        ("[\n  1,\n  2]", 1, "[\n  1]"),
        ("[1,\n  2,\n]", 1, "[1,\n]"),
    ],
)
def test_an_element_is_removed_with_its_line(array, index, left):
    assert removed(array, index) == left


@pytest.mark.parametrize(
    ("array", "after", "result"),
    [
        ("[]", -1, "[9]"),
        ("[1]", 0, "[1, 9]"),
        ("[1]", -1, "[9, 1]"),
        ("[1, 2]", 0, "[1, 9, 2]"),
        ("[1, 2,]", 1, "[1, 2, 9,]"),
        ("[\n]", -1, "[\n  9,\n]"),
        ("[\n  # none yet\n]", -1, "[\n  # none yet\n  9,\n]"),
        ("[\n    1,\n    2,\n]", 0, "[\n    1,\n    9,\n    2,\n]"),
        ("[\n    1,\n    2,\n]", -1, "[\n    9,\n    1,\n    2,\n]"),
        ("[\n  1,\n  2\n]", 1, "[\n  1,\n  2,\n  9,\n]"),
        ("[\n  1,\n  2 # two\n]", 1, "[\n  1,\n  2, # two\n  9,\n]"),
        ("[\n  1,\n  2]", 1, "[\n  1,\n  2,\n  9,\n]"),
        ("[\n  1, 2,\n]", 1, "[\n  1, 2, 9,\n]"),
    ],
)
def test_an_element_is_inserted_as_the_array_is_written(array, after, result):
    assert inserted(array, after, Element("9", 0, 1)) == result


def test_an_inserted_line_has_its_comment():
    new = Element("9", 0, 1, None, "# nine")
    assert inserted("[\n  1,\n]", 0, new) == "[\n  1,\n  9,  # nine\n]"
    assert inserted("[1]", 0, new) == "[1, 9]"


def test_one_element_is_replaced():
    assert replaced("[1, 22, 3]", 1, "9") == "[1, 9, 3]"


@pytest.mark.parametrize(
    ("base", "existing", "generated", "result"),
    [
        # The generator changed an element.
        ("['a>=1']", "['a>=1']", "['a>=2']", "['a>=2']"),
        ("['a>=1']", "['A >= 1']", "['a>=2']", "['a>=2']"),
        ("['a>=1']", "['a>=5']", "['a>=2']", "['a>=5']"),
        ("['a>=1']", "['a>=2']", "['a>=2']", "['a>=2']"),
        ("['a>=1']", "['a>=5', 'a>=6']", "['a>=2']", "['a>=5', 'a>=6']"),
        # The generator added or removed an element.
        ("['a', 'c']", "['a', 'c']", "['a', 'b', 'c']", "['a', 'b', 'c']"),
        ("['a', 'c']", "['mine', 'c']", "['a', 'b', 'c']", "['mine', 'c', 'b']"),
        ("['a']", "['a', 'mine']", "['a', 'b']", "['a', 'b', 'mine']"),
        ("['a']", "['a', 'b>=9']", "['a', 'b']", "['a', 'b>=9']"),
        ("['a', 'b']", "['a', 'b']", "['a']", "['a']"),
        ("['a', 'b']", "['a', 'b>=9']", "['a']", "['a', 'b>=9']"),
        # A person removed an element, or all of them: the requirements are elsewhere.
        ("['a', 'b']", "['a']", "['a', 'b>=2']", "['a']"),
        ("['a', 'b']", "['mine']", "['a', 'b', 'c']", "['mine']"),
        ("[]", "['mine']", "['a']", "['mine', 'a']"),
    ],
)
def test_a_list_of_requirements_follows_the_generator(base, existing, generated, result):
    arrays = (parsed(text) for text in (base, existing, generated))
    assert ListEdit(*arrays, by_name=True, force=False).edited() == result


@pytest.mark.parametrize(
    ("base", "existing", "generated", "result"),
    [
        ("['a>=1']", "['a>=5']", "['a>=2']", "['a>=2']"),
        ("['a', 'b']", "['a', 'b>=9']", "['a']", "['a']"),
        ("['a', 'b']", "['mine']", "['a', 'b', 'c']", "['mine', 'c']"),
    ],
)
def test_with_force_the_generators_value_wins(base, existing, generated, result):
    arrays = (parsed(text) for text in (base, existing, generated))
    assert ListEdit(*arrays, by_name=True, force=True).edited() == result


@pytest.mark.parametrize(
    ("base", "existing", "generated", "result"),
    [
        ("[1]", "[1, 5]", "[1, 2]", "[1, 2, 5]"),
        ("[1, 2]", "[1, 2, 5]", "[1]", "[1, 5]"),
        ("[1]", "[5]", "[2]", "[5, 2]"),
    ],
)
def test_other_lists_are_matched_by_value(base, existing, generated, result):
    arrays = (parsed(text) for text in (base, existing, generated))
    assert ListEdit(*arrays, by_name=False, force=False).edited() == result


@pytest.mark.parametrize(
    ("value", "name"),
    [("Ruff_Lint>=1", "ruff-lint"), ("a[b]~=1.0", "a"), ("not a name!", "not a name!"), (3, "3")],
)
def test_the_name_of_a_requirement(value, name):
    assert name_of(value) == name


def test_layout_makes_no_difference():
    assert same(parsed("[ 1,2 ]"), parsed("[1, 2]")) is True
    assert same(parsed("[1]"), parsed("[2]")) is False
