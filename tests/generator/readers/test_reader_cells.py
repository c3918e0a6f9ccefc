"""Cells of an export as values, and the encoding of a file, by tables."""

import pytest
from targcc_gen.readers.rows import Row, UnreadableCellError, flag, integer
from targcc_gen.readers.text import _wide


def _row(value):
    return Row("c_job", {"value": value}, "jobs.csv", 2)


@pytest.mark.parametrize(
    ("value", "truth"),
    [
        (None, None),
        (" ", None),
        ("1", True),
        ("1.0", True),
        ("TRUE", True),
        ("0", False),
        ("False", False),
        (1, True),
        (0, False),
        (b"\x01", True),
        (b"\x00", False),
        (b"\x00\x01", True),
        (b"\x01\x00", True),
    ],
)
def test_a_cell_is_true_or_false(value, truth):
    assert flag(_row(value), "value") is truth


@pytest.mark.parametrize("value", ["2", "maybe", 7])
def test_a_cell_that_is_neither_is_named(value):
    with pytest.raises(UnreadableCellError, match="neither 0 nor 1"):
        flag(_row(value), "value")


@pytest.mark.parametrize(
    ("value", "number"),
    [(None, None), ("", None), ("12", 12), ("12.0", 12), (12.0, 12), (b"\x01\x00", 256)],
)
def test_a_cell_is_a_whole_number(value, number):
    assert integer(_row(value), "value") == number


@pytest.mark.parametrize("value", ["12.5", "many", "inf", [1]])
def test_a_cell_that_is_no_whole_number_is_named(value):
    with pytest.raises(UnreadableCellError, match="no whole number"):
        integer(_row(value), "value")


@pytest.mark.parametrize(("length", "shown"), [(60, "x" * 60), (61, f"{'x' * 60}…")])
def test_a_long_cell_is_shown_in_part(length, shown):
    with pytest.raises(UnreadableCellError, match=rf"\b{shown}(?!x)"):
        integer(_row("x" * length), "value")


ASCII, HEBREW = "insert into c_Job", "משימות"


@pytest.mark.parametrize(
    ("head", "codec"),
    [
        (ASCII.encode("utf-16-le"), "utf-16-le"),
        (ASCII.encode("utf-16-be"), "utf-16-be"),
        ((ASCII + HEBREW).encode("utf-16-le"), "utf-16-le"),
        ((ASCII + HEBREW).encode("utf-16-be"), "utf-16-be"),
        (ASCII.encode(), None),
        (HEBREW.encode("utf-16-le"), None),
        (b"", None),
        (b"a", None),
        (b"\x00" * 40, None),
        # Thirty per cent zeros in one half, and a tenth as many in the other half.
        (b"a\x00" * 4 + b"ab" * 6, "utf-16-le"),
        (b"a\x00" * 3 + b"ab" * 7, None),
        (b"a\x00" * 20 + b"\x00b" * 1, "utf-16-le"),
        (b"a\x00" * 20 + b"\x00b" * 2, None),
        (b"\x00a" * 4 + b"ab" * 6, "utf-16-be"),
        (b"\x00a" * 3 + b"ab" * 7, None),
        (b"\x00a" * 20 + b"b\x00" * 2, None),
    ],
)
def test_text_of_two_bytes_is_recognised_without_a_mark(head, codec):
    assert _wide(head) == codec
