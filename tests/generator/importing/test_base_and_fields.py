"""Values that an import stores of the old table, and the merge of three versions of a job."""

import pytest
from targcc_gen.errors import InputError
from targcc_gen.importing.base import Base, BaseRow, merge, same, shown

HEAD = '{"targcc_legacy": 1}\n'
ROW = BaseRow("c_Job", "7", "Load", "Load", {"cron": "0 2 * * *"}, {"cron": "0 3 * * *"})


def test_the_base_reads_what_it_wrote_sorted_by_table_and_number():
    rows = [BaseRow("c_Job", row, "A", "A", {}) for row in ("10", "9", "name:x")]
    base = (
        Base()
        .with_source("c_Job", [*rows, ROW])
        .with_source("a", [BaseRow("a", "1", "B", rejected="no")])
    )
    text = base.dump()

    assert Base.parse(text) == base
    assert [line.split('"row": "')[1].split('"')[0] for line in text.splitlines()[1:]] == [
        "1", "name:x", "7", "9", "10",
    ]  # fmt: skip
    assert base.sources == ["c_Job", "a"]


def test_of_two_lines_for_a_row_the_last_counts_as_after_a_merge_by_union():
    text = HEAD + ROW.to_line() + "\n\n" + ROW.to_line().replace("0 2", "0 9") + "\n"

    assert Base.parse(text).of("c_Job")["7"].job == {"cron": "0 9 * * *"}


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("<<<<<<< HEAD", "conflict markers"),
        ("{", "not JSON"),
        ("[]", "not a JSON object"),
        ('{"source": 1}', "needs source"),
        ('{"source": "a", "row": "1", "name": "x"}', "needs source"),
        ('{"source": "a", "row": "1", "name": "x", "key": "K", "job": []}', "needs source"),
        ('{"targcc_legacy": 2}', "a newer targcc-gen"),
    ],
)
def test_a_line_that_is_none_is_refused_with_its_place(line, problem):
    with pytest.raises(InputError, match=r"legacy\.jsonl:2") as error:
        Base.parse(HEAD + line + "\n")
    assert problem in error.value.message


def test_a_base_that_cannot_be_read_is_refused(tmp_path):
    (tmp_path / ".targcc").mkdir()
    (tmp_path / ".targcc/legacy.jsonl").write_bytes(b"\xff\xfe")

    with pytest.raises(InputError, match="cannot be read"):
        Base.load(tmp_path)
    assert Base.load(tmp_path / "elsewhere") == Base()


def nobody(_):
    return None


@pytest.mark.parametrize(
    ("base", "mine", "old", "expected"),
    [
        ({"retries": 0}, {"retries": 0}, {"retries": 2}, {"retries": 2}),
        ({"retries": 0}, {"retries": 3}, {"retries": 0}, {"retries": 3}),
        ({"retries": 0}, {}, {"retries": 0}, {}),
        ({"retries": 0}, {"retries": 0}, {}, {}),
        ({"cron": "a"}, {"cron": "a", "timeout": "1h"}, {"every": "1h"}, {"every": "1h", "timeout": "1h"}),
        ({"cron": "a"}, {"after": ["Orders"], "unique": True}, {"cron": "a", "retries": 2}, {"after": ["Orders"], "unique": True, "retries": 2}),
        ({"alerts": {"on": ["failure"], "email": ["a"]}}, {"alerts": {"on": ["failure"], "email": ["a"], "slack": "s"}},
         {"alerts": {"on": ["failure"], "email": ["b"]}}, {"alerts": {"on": ["failure"], "email": ["b"], "slack": "s"}}),
    ],
)  # fmt: skip
def test_what_one_side_changed_is_taken(base, mine, old, expected):
    merged = merge(base, mine, old, nobody)

    assert (merged.values, merged.conflicts) == (expected, ())


@pytest.mark.parametrize("base", [{"retries": 0}, None])
def test_what_both_changed_or_nobody_remembers_is_a_conflict(base):
    merged = merge(base, {"retries": 1}, {"retries": 2}, nobody)

    assert [conflict.field for conflict in merged.conflicts] == ["retries"]
    assert merged.values == {"retries": 1}


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("2026-01-01T05:00", "2026-01-31T05:00", True),
        ("2026-01-01T05:00", "2026-02-01T05:00", False),
        ("2026-01-01T05:00", "2026-01-04T06:00", False),
        ("2026-01-01T05:00", "2026-01-04T05:00+00:00", False),
        ("2026-01-01T05:00", "nonsense", False),
    ],
)
def test_anchors_on_one_grid_are_the_same(one, other, is_same):
    values = [{"every": "3d", "anchor": anchor} for anchor in (one, other)]

    assert same("schedule", *values) is is_same
    assert not same("schedule", values[0], {"cron": "0 2 * * *"})
    assert not same("schedule", values[0], None)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "none"),
        (True, "true"),
        (["a", "b"], "a, b"),
        ({"cron": "x"}, "cron x"),
        ("a\n\x1b b", "a b"),
    ],
)
def test_a_value_is_shown_on_one_line(value, text):
    assert shown(value) == text
