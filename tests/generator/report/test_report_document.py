"""The report lists imported and rejected content in each of its formats."""

import json
from datetime import UTC, datetime
from html.parser import HTMLParser
from zoneinfo import ZoneInfo

import pytest
from c_job_rows import classic_row, cron_row
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from targcc_gen.evidence.weigh import weigh
from targcc_gen.parity.compare import differences
from targcc_gen.parity.shapes import Difference
from targcc_gen.readers.rows import Row
from targcc_gen.report.content import causes, work
from targcc_gen.report.document import write_report
from targcc_gen.report.summary import lines
from targcc_gen.report.verdicts import unsettled
from targcc_gen.sources.model import ImportedJob, OldJob
from targcc_gen.spec import JobSpec

LOG = "INSERT c_LoggedJob (ID, C_JobID, WhenStarted, enmRunStatus_JobStatus) VALUES "
HISTORY = f"{LOG}(1, 1, NULL, 'Success'), (2, 1, '2026-01-02', 'Success')\n"


RICH = (
    "CREATE PROCEDURE dbo.usp_Nightly AS BEGIN INSERT INTO dbo.Totals SELECT * FROM dbo.Orders END\nGO\n"
    "INSERT c_Job (ID, JobName, CronExpression, StoredProcName, IsActive, EmailOnFailure, NextRun) VALUES"
    " (1, 'Nightly load', '0 5 * * *', 'dbo.usp_Nightly', 1, 1, '2026-11-25T05:00:00'),"
    " (2, 'Later', '0 3 * * *', 'dbo.usp_Later', 1, 0, '2026-11-26T04:00:00')\n"
    "INSERT c_JobAlertRecipient (ID, c_JobID, Email) VALUES (1, 1, 'dana@example.com'), (2, 77, 'old@example.com')\n"
    + "".join(
        f"INSERT c_LoggedJob (ID, c_JobID, WhenStarted, ExecutionTimeSec, enmRunStatus_JobStatus) VALUES ({day}, 1, '2026-11-{day:02d}T05:00:09', {day}, 'Success')\n"
        for day in range(1, 25)
    )
    + "INSERT c_LoggedJob (ID, c_JobID, WhenStarted) VALUES (90, 1, NULL), (91, 5, '2026-11-01T07:00:00')\n"
    "UPDATE c_Job SET IsActive = 0 WHERE ID = 2\n"
)


@pytest.fixture
def rich(bring, tmp_path):
    """Return a function that writes a report on a script with every feature and returns its text."""

    def write(suffix):
        path, result = tmp_path / f"report{suffix}", bring(RICH)
        weighed = weigh(result)
        write_report(path, result, unsettled(differences(result), weighed), weighed)
        return path.read_text(encoding="utf-8")

    return write


def test_old_and_new_next_run_stand_side_by_side(rich):
    jobs = json.loads(rich(".json"))["jobs"]

    assert jobs[0]["next"] == {
        "old": "2026-11-25 05:00", "new": "2026-11-25 05:00", "same": True, "note": None,
    }  # fmt: skip
    assert (jobs[1]["next"]["new"], jobs[1]["next"]["same"]) == ("2026-11-26 03:00", False)
    assert '<span class="apart">2026-11-26 03:00</span>' in rich(".html")


def test_a_job_has_its_lengths_its_mail_and_what_its_procedure_touches(rich):
    job = json.loads(rich(".json"))["jobs"][0]

    assert job["durations"]["typical_seconds"] == 12
    assert job["durations"]["longest_seconds"] == 24
    assert job["mailed"] == {"to": ["dana@example.com"], "when": "on failure"}
    assert job["touches"]["writes"] == ["dbo.Totals"]
    assert job["touches"]["reads"] == ["dbo.Orders"]
    assert job["standing"] == "exactly as before"


def test_exactly_as_before_stands_only_where_theory_and_evidence_agree(rich):
    report = json.loads(rich(".json"))

    assert [job["standing"] for job in report["jobs"]] == [
        "exactly as before",
        "history says otherwise",
    ]
    assert report["parity"]["same"] == 1


def test_every_table_adds_up(rich):
    sums = {balance["table"]: balance for balance in json.loads(rich(".json"))["balances"]}

    assert sums["c_Job"]["ends"] == {"jobs": 2}
    assert sums["c_JobAlertRecipient"]["ends"] == {
        "taken over or known": 1,
        "of jobs that are not in the export": 1,
    }
    assert sums["c_LoggedJob"]["ends"] == {
        "runs of these jobs": 24,
        "runs of jobs that are not in the export": 1,
        "without a date": 1,
    }
    assert all(balance["read"] == balance["sum"] for balance in sums.values())
    assert "24 runs of these jobs + 1 runs of jobs that are not in the export" in rich(".md")


def test_the_load_by_the_hour_has_both_sides(rich):
    load = json.loads(rich(".json"))["load"]

    assert load["days"] == 24
    assert load["hours"][5]["before"]["runs"] == 1
    assert load["hours"][5]["after"] == {"runs": 1.0, "minutes": 0.2}
    assert load["hours"][4]["after"]["runs"] == 0


def test_a_row_that_a_later_statement_changes_is_named(rich):
    (warning,) = [
        text for text in json.loads(rich(".json"))["warnings"] if '"Later" is changed' in text
    ]

    assert "UPDATE c_Job of IsActive WHERE ID = 2 is not carried out" in warning


@pytest.mark.parametrize("suffix", [".md", ".html"])
def test_a_change_board_has_something_to_sign(rich, suffix):
    text = rich(suffix)

    assert "Sign-off" in text
    assert "Right?" in text
    assert "☐" in text


def test_the_page_needs_no_network_and_no_script_to_be_read(rich):
    import re

    text = rich(".html")
    assert not re.search(r"""(?:src|href|url\()\s*=?\s*["']?(?:https?:)?//""", text)
    without = re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL)
    assert "@media print" in text
    hidden = re.findall(r"<[^>]* hidden>", without)
    assert hidden == ['<div class="filter" id="filter" hidden>']


def test_mail_of_the_old_server_follows_its_own_rules(bring):
    script = (
        classic_row()
        + classic_row(ID=2, lkpJob="'Other'", SendNotificationOnSuccess=1)
        + "INSERT c_User (ID, FullName, Email) VALUES (5, 'Dana', 'dana@example.com')\n"
        "INSERT c_JobAlertRecipient (ID, c_JobID, c_UserID, enmJobAlertType, OverrideName, OverrideEmailOrPhone) VALUES"
        " (1, 2, 5, 'email', NULL, 'unused@example.com'), (2, 2, 5, 'email', 'Ops', NULL),"
        " (3, 2, 5, 'email', 'Ops', 'ops@example.com'), (4, 2, 5, 'SMS', 'Ops', '555')\n"
        "INSERT c_SystemDefault (ID, Name, Value) VALUES (1, 'Config_ProblemMailTo', 'admin@example.com')\n"
    )
    first_job, second_job = (job.old for job in bring(script).jobs)

    assert first_job.mailed == ("admin@example.com",)
    assert first_job.mail_rule == "on failure and warning (no recipient: ProblemMailTo)"
    assert second_job.mailed == ("dana@example.com", "ops@example.com")
    assert "on success once a day or when the remarks changed" in second_job.mail_rule


@pytest.fixture
def written(bring, tmp_path):
    """Return a function that writes a report on a script and returns its text."""

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


CLASSIC = classic_row(when="2024-01-01T04:00:00") + classic_row(
    ID=2, lkpJob="'Beside'", when="2024-01-01T04:00:00"
)


@pytest.mark.parametrize("suffix", [".md", ".html"])
def test_an_old_runners_queue_shows_where_one_at_a_time_matters(written, suffix):
    text = written(CLASSIC, suffix)

    assert "35; first Wed 25 Nov 2026 04:00 +02:00: Beside and NightlyLoad" in text
    assert "Questions to the owner" in text
    assert "What you may want to change" in text


def test_json_has_queues_questions_advice_and_the_notes_of_each_job(written):
    content = json.loads(written(CLASSIC, ".json"))

    assert content["queues"] == [
        {
            "runner": "SRV01", "queue": "srv01", "workers": 1, "jobs": 2, "meetings": 35, "longest_wait_seconds": 0,
            "first": {"at": "Wed 25 Nov 2026 04:00 +02:00", "job": "Beside", "other": "NightlyLoad"},
        }
    ]  # fmt: skip
    assert "c_JobUpdateSetToInProcess" in content["questions"][1]
    assert len(content["advice"]) == 5
    assert "Job Missed" in content["advice"][-1]
    assert content["jobs"][0]["notes"] == [
        "no recipient: the old server wrote to its administrator; give --alert-email"
    ]


def test_whom_the_scan_told_of_late_jobs_is_said_with_its_limit(written):
    rows = classic_row(TimeOutSec=600) + classic_row(ID=2, lkpJob="'Other'", TimeOutSec=3000)
    advice = json.loads(written(rows, ".json"))["advice"]

    assert any("(SRV01: 1h)" in text and "misfire" in text for text in advice)


def test_the_owner_of_rows_with_a_cron_text_is_asked_how_they_were_found(written):
    content = json.loads(written(cron_row(), ".json"))

    assert len(content["questions"]) == 1
    assert "--polling" in content["questions"][0]
    assert content["queues"] == []


class Page(HTMLParser):
    """Parser that collects the elements of a page with their attribute names, and its text."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.texts = [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, *sorted(name for name, _ in attrs)))

    def handle_data(self, data):
        self.texts.append(data)


HOSTILE = st.lists(
    st.sampled_from(
        ["<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "</td></table>", "<!--", "-->", "]]>", '" onclick="x', "' x='",
         "&lt;", "&#60;", "&amp", "{{ 7 * 7 }}", "{% raw %}", "javascript:x", "</style>", "</title>", "<b", ">", "\\", "%", "x", " "]
    ),
    min_size=1,
    max_size=3,
).map(lambda parts: f"a{''.join(parts)}z")  # fmt: skip


@pytest.mark.slow
@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(HOSTILE)
def test_a_page_has_the_same_elements_whatever_the_names_in_an_export_say(bring, tmp_path, name):
    def page(named):
        result = bring(RICH.replace("Nightly load", named.replace("'", "''")))
        write_report(tmp_path / "r.html", result, differences(result), weigh(result))
        return Page((tmp_path / "r.html").read_text(encoding="utf-8"))

    hostile, harmless = page(name), page("Nightly load")

    assert hostile.elements == harmless.elements
    assert any(" ".join(name.split()) in text for text in hostile.texts)


def test_differences_are_grouped_by_cause_with_the_most_starts_first():
    london = ZoneInfo("Europe/London")

    def difference(key: str, kind: str, at: datetime, count: int) -> Difference:
        spec = JobSpec(cron="0 2 * * *")
        row = Row("c_job", {}, "dump.sql", 1)
        return Difference(
            ImportedJob(key, spec, row, OldJob(key, None, "")), kind, at, "", "", count
        )

    autumn = datetime(2027, 10, 31, 0, 30, tzinfo=UTC)
    groups = causes(
        [
            difference("One", "spring", datetime(2027, 3, 28, 1, tzinfo=UTC), 1),
            difference("One", "autumn", autumn, 2),
            difference("Two", "autumn", autumn, 12),
        ],
        london,
    )

    assert [(group["cause"], group["jobs"], group["starts"]) for group in groups] == [
        ("the repeated hour of 31 October 2027", ["One", "Two"], 14),
        ("the gap of 28 March 2027", ["One"], 1),
    ]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"blueprint": "stored-procedure", "procedure": "dbo.a"}, "calls dbo.a"),
        ({"blueprint": "command", "params": {"command": "str = /opt/a --b"}}, "runs /opt/a --b"),
        ({"blueprint": "not-ported"}, "not yet ported"),
    ],
)
def test_the_work_of_a_job_in_words(fields, words):
    assert work(JobSpec.model_validate({"cron": "0 2 * * *", **fields})) == words
