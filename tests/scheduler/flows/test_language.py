"""Language of conditions and templates, and the errors in the steps of a flow."""

import pytest
from targcc_scheduler.features.flows.graph import MOST_STEPS, find_cycle, problems, steps_of
from targcc_scheduler.features.flows.language import (
    Expression,
    FlowError,
    NotKept,
    Template,
    filled,
)

KNOWN = {
    "import": {"count": 3, "files": ["a", "b"], "kind": "full", "class": {"in": 1}},
    "load": [{"rows": 1}, {"rows": 2}],
    "flow": {"month": "é"},
    "item": "x",
}


def test_what_an_expression_comes_to():
    for text, value in {
        "import.count > 2 and import.kind in ['full', 'delta']": True,
        "not import.files": False,
        "1 < import.count <= 3": True,
        "'kind' in import and import.kind != 'full'": False,
        "load.rows": [1, 2],
        "2 in load.rows": True,
        "import['kind']": "full",
        "import.files[0]": "a",
        "import.class.kind == 1 or import.count": None,
        "flow.month == 'é' and -1 < 0": True,
        "import.count == None": False,
        " import.count": 3,
    }.items():
        if value is not None:
            assert Expression(text).value(KNOWN) == value, text
    assert Template("in/{item}-{import.count}.{{csv}}").value(KNOWN) == "in/x-3.{csv}"
    assert filled({"a": ["{load.rows}", 4]}, KNOWN) == {"a": [[1, 2], 4]}


def test_what_may_not_be_in_an_expression_is_refused_with_its_place():
    """``None``: Python's parser gives the column, which differs between releases."""
    for text, column in {
        "import.__class__()": 0,
        "len(import.files)": 0,
        "import.count + 1": 0,
        "'é' == [x for x in load]": None,
        "lambda: 1": None,  # a Python keyword is a plain name in this language
        "f'{import}'": None,
        "import.count >> 1": 0,
        "import.count >": None,
        "a if b else c": None,
        "b'x'": 0,
        "-import.count": 0,
        "import[load]": 0,
        "1j": 0,
        "": 0,
        "x" * 501: 500,
        "é": 0,
        "a\n": 1,
        "(" * 300 + ")" * 300: 500,
        "a or " * 99 + "a": 0,
        "import.files := 1": None,
        "*import": None,
        "{1: 2}": 0,
    }.items():
        with pytest.raises(FlowError) as refused:
            Expression(text)
        place = refused.value.column
        assert place is not None if column is None else place == column, (text, place)


def test_what_goes_wrong_with_values_is_said_with_its_place():
    for text, message, column in (
        ("import.cuont > 1", "there is no 'cuont'", 0),
        ("flow.month and import.kind > 1", "a text cannot be compared so with a number", 15),
        ("1 in import.count", "a number cannot be compared so with a number", 0),
        ("import.count.real", "there is no 'real'", 0),
        ("import.kind.upper", "there is no 'upper'", 0),
        ("load.nix", "there is no 'nix'", 0),
    ):
        with pytest.raises(FlowError, match=message) as refused:
            Expression(text).value(KNOWN)
        assert refused.value.column == column, text


def test_what_was_not_kept_is_nothing_to_go_on_with():
    kept = {"count": 3, "files": NotKept(), "all": [{"name": "a"}, {"name": NotKept()}]}
    known = {"import": kept, "load": [kept]}
    assert Expression("import.count == 3").value(known)
    assert Expression("load.count").value(known) == [3]
    for text, what in (
        ("import.files", "'files'"),
        ("'a' in import.files", "'files'"),
        ("load.files", "'files'"),
        ("import.all", "import.all"),
        ("import", "import"),
        ("import.all.name", "'name'"),
    ):
        with pytest.raises(FlowError, match=f"^{what} was not kept as it was given"):
            Expression(text).value(known)
    with pytest.raises(FlowError, match="not kept"):
        filled({"a": ["x {load}"]}, known)


def test_what_is_wrong_with_steps():
    def wrong(steps: dict) -> list:
        return [(problem.path, problem.message, problem.column) for problem in problems(steps)]

    assert wrong({}) == [((), "a flow has a step", None)]
    assert wrong({"in": {"job": "A"}})[0][0] == ("in",)
    assert wrong({"a": {"job": "A", "after": "b"}}) == [(("a", "after"), 'no step "b"', None)]
    assert wrong({"a": {"job": "A", "on": "failure"}})[0][0] == ("a", "on")
    round_ = {"a": {"after": ["c"]}, "b": {"after": ["a"]}, "c": {"after": ["b"]}}
    assert wrong(round_) == [(("a", "after"), "a waits for itself: a → c → b → a", None)]
    assert find_cycle({"a": ["a"]}) == ["a", "a"]
    steps = {"a": {"job": "A"}, "b": {"job": "B", "after": ["a"], "when": "a.x and c.x"}}
    assert wrong(steps) == [(("b", "when"), "c is not known here", 8)]
    steps["b"] = {"job": "B", "after": "a", "arguments": {"x": ["no", "see {item}"]}}
    assert wrong(steps) == [(("b", "arguments", "x", 1), "item is not known here", 5)]
    steps["b"] = {"job": "B", "after": "a", "arguments": {"x": "a } b"}}
    assert wrong(steps)[0][2] == 2
    with pytest.raises(FlowError, match=r"b\.arguments\.x"):
        steps_of(steps)


@pytest.mark.parametrize(
    ("after", "order"),
    [
        ({"a": [], "b": [], "c": []}, ["a", "b", "c"]),
        ({"a": ["c"], "b": [], "c": []}, ["c", "a", "b"]),
        ({"a": ["b", "c"], "b": ["c"], "c": []}, ["c", "b", "a"]),
        ({"a": "b", "b": "c", "c": [], "d": []}, ["c", "b", "a", "d"]),
        ({"a": ["d"], "b": ["d"], "c": ["a", "b"], "d": []}, ["d", "a", "b", "c"]),
    ],
)
def test_steps_come_after_the_steps_that_they_wait_for(after, order):
    steps = {name: {"job": name.upper(), "after": before} for name, before in after.items()}
    assert list(steps_of(steps)) == order


def test_a_step_has_its_defaults_and_its_expressions():
    steps = steps_of(
        {
            "a": {"job": "A"},
            "b": {
                "job": "B",
                "after": "a",
                "on": "finish",
                "when": "a.count > 1",
                "for_each": "flow.files",
                "arguments": {"file": "{item}", "number": 4},
            },
        }
    )
    a, b = steps["a"], steps["b"]
    assert (a.name, a.job, a.after, a.on) == ("a", "A", (), "success")
    assert (a.when, a.for_each, a.arguments, a.asks) == (None, None, {}, frozenset())
    assert (b.after, b.on, b.arguments) == (("a",), "finish", {"file": "{item}", "number": 4})
    assert (str(b.when), str(b.for_each)) == ("a.count > 1", "flow.files")
    assert b.asks == {"a", "flow", "item"}


def _wrong(steps: dict) -> list:
    return [(problem.path, problem.message, problem.hint) for problem in problems(steps)]


def test_a_flow_has_at_most_as_many_steps_as_its_limit():
    steps = {f"a{number}": {"job": "A"} for number in range(MOST_STEPS)}
    assert _wrong(steps) == []
    assert _wrong({**steps, "b": {"job": "B"}}) == [
        ((), f"a flow has at most {MOST_STEPS} steps", "")
    ]


@pytest.mark.parametrize("on", ["failure", "finish"])
def test_a_step_that_waits_for_none_needs_no_outcome(on):
    [problem] = problems({"a": {"job": "A", "on": on}})
    assert (problem.path, problem.at_key) == (("a", "on"), True)
    assert _wrong({"b": {"job": "B"}, "a": {"job": "A", "on": on, "after": "b"}}) == []
    assert _wrong({"a": {"job": "A", "on": "success"}}) == []


def test_a_missing_step_is_named_with_its_place_and_a_hint():
    steps = {"load": {"job": "A"}, "send": {"job": "B", "after": ["load", "laod"]}}
    assert _wrong(steps) == [(("send", "after", 1), 'no step "laod"', "did you mean load?")]
    steps["send"]["after"] = "xyz"
    assert _wrong(steps) == [(("send", "after"), 'no step "xyz"', "the steps are load, send")]


def test_an_expression_reads_all_steps_that_are_over_and_no_others():
    steps = {
        "a": {"job": "A"},
        "b": {"job": "B", "after": "a"},
        "c": {"job": "C", "after": "b", "when": "a.x and b.x and flow.x"},
        "d": {"job": "D", "after": "b", "when": "c.x"},
    }
    assert _wrong(steps) == [
        (
            ("d", "when"),
            "c is not known here",
            "it may ask a, b, flow: flow, and the steps that it is after",
        )
    ]
    steps["d"] = {"job": "D", "for_each": "item.x"}
    assert [path for path, _, _ in _wrong(steps)] == [("d", "for_each")]
    steps["d"] = {"job": "D", "for_each": "flow.x", "arguments": {"x": "{item}"}}
    assert _wrong(steps) == []
