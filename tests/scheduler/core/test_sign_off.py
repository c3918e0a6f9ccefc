"""The signed list of decisions, as spreadsheets save it."""

import pytest
from targcc_scheduler.core.sign_off import Decision, SignOffError, decisions_csv, read_decisions

LINE = Decision(
    "d1", "Nightly", "SRV01", "Old: 01:30, twice; new: once", "go", "Dana", "30.11.2026"
)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("head", ["", "\ufeff", "sep={}\r\n"])
def test_a_list_is_read_with_any_separator(delimiter, head):
    cells = ["d1", "Nightly", "SRV01", '"Old: 01:30, twice; new: once"', "go", "Dana", "30.11.2026"]
    header = delimiter.join(["Id", "Job", "Runner", "Question", "Decision", "By", "Date"])
    text = f"{head.format(delimiter)}{header}\r\n{delimiter.join(cells)}\r\n"

    assert read_decisions(text) == {"d1": LINE}


def test_a_list_is_read_as_it_was_written():
    line = Decision("d2", "Job\nof two lines", "", 'He said "no"', "", "", "")

    assert read_decisions(decisions_csv([LINE, line])) == {"d1": LINE, "d2": line}


def test_names_that_a_spreadsheet_would_calculate_are_written_as_text():
    text = decisions_csv([Decision("d1", "=cmd|' /C calc'!A0", "", "+1", "", "@me", "")])

    assert "'=cmd" in text
    assert "'+1" in text
    assert "'@me" in text


def test_columns_may_change_their_order_and_their_case():
    assert read_decisions("DATE,by,ID,note\n1.1.2027,Dana,d1,x\n")["d1"].by == "Dana"


@pytest.mark.parametrize(
    ("decision", "by", "on", "problem"),
    [
        ("", "Dana", "30/11/2026", ""),
        ("Go", "Dana", "30/11/2026", ""),
        ("כן", "דנה", "30/11/2026", ""),
        ("", "", "", "nobody signed it"),
        ("go", "", "", "nobody signed it"),
        ("go", "Dana", "", "By or Date is missing"),
        ("go", "", "30/11/2026", "By or Date is missing"),
        ("go", "-", "?", "By or Date is missing"),
        ("leave out", "Dana", "30/11/2026", 'Dana decided "leave out"'),
    ],
)
def test_a_line_allows_the_switch_with_a_name_and_a_date(decision, by, on, problem):
    assert Decision("d1", "Nightly", "", "", decision, by, on).problem == problem


@pytest.mark.parametrize("text", ["", "a,b\n", "Id,By\nd1,Dana\n"])
def test_a_file_without_the_columns_is_no_list(text):
    with pytest.raises(SignOffError, match="no column"):
        read_decisions(text)
