"""The report says what came over and what did not, in each of its formats."""

import json

import pytest
from c_job_rows import cron_row
from targcc_gen.report.document import write_report
from targcc_gen.report.summary import lines

LOG = "INSERT c_LoggedJob (ID, C_JobID, WhenStarted, enmRunStatus_JobStatus) VALUES "
HISTORY = f"{LOG}(1, 1, NULL, 'Success'), (2, 1, '2026-01-02', 'Success')\n"


@pytest.fixture
def written(bring, tmp_path):
    """Writes a report on a script, and gives its text."""

    def write(script, suffix):
        path = tmp_path / f"report{suffix}"
        write_report(path, bring(script), [])
        return path.read_text(encoding="utf-8")

    return write


def test_markdown_counts_the_history_and_what_is_left_out_of_it(written):
    text = written(cron_row() + HISTORY, ".md")

    assert "2 rows of history. Left out: 1 without a date; the warnings say where" in text
    assert "c_LoggedJob: 1 row without a date" in text


def test_html_counts_it_too(written):
    assert "<b>1</b>rows of history left out, without a date" in written(
        cron_row() + HISTORY, ".html"
    )


def test_json_counts_it_for_programs(written):
    counts = json.loads(written(cron_row() + HISTORY, ".json"))["counts"]

    assert (counts["history"], counts["history_left_out"]) == (2, {"without a date": 1})


@pytest.mark.parametrize("suffix", [".md", ".html"])
def test_a_history_without_gaps_is_not_talked_about(written, suffix):
    assert "left out" not in written(cron_row(), suffix).lower()


def test_the_summary_on_the_terminal_names_the_rows(bring):
    result = bring(cron_row() + HISTORY)

    shown = list(lines(result, [], report=None))

    assert (
        f"warning   c_LoggedJob: 1 row without a date left out: {result.files[0].name}:2" in shown
    )
