"""The list of decisions of an import: one line for each difference; a later import keeps the cells that people filled in."""

import csv
import json

import pytest
from c_job_rows import cron_row
from click.testing import CliRunner
from targcc_gen.cli import main
from targcc_gen.evidence.weigh import weigh
from targcc_gen.parity.compare import differences
from targcc_gen.report.decisions import decisions
from targcc_gen.report.verdicts import unsettled

SAME = cron_row(number=1, name="Noon", cron="0 12 * * *")
SHIFTED = cron_row(number=2, name="In the gap", cron="30 1 * * *")
BOTH = cron_row(number=3, name="Either day", cron="0 3 1 * 1")


def asked_of(result):
    weighed = weigh(result)
    return decisions(result, unsettled(differences(result), weighed), weighed)


def test_a_job_that_runs_as_before_needs_no_decision(bring):
    asked = asked_of(bring(SAME + SHIFTED + BOTH))

    assert set(asked) == {"InTheGap", "EitherDay"}
    assert asked["InTheGap"][0].question.startswith("Old: ")


def test_a_line_keeps_its_id_until_a_schedule_changes(bring):
    first = [line.id for line in asked_of(bring(SHIFTED))["InTheGap"]]
    again = [line.id for line in asked_of(bring(SHIFTED))["InTheGap"]]
    later = [line.id for line in asked_of(bring(SHIFTED.replace("30 1 *", "45 1 *")))["InTheGap"]]

    assert first == again
    assert not set(first) & set(later)


def test_history_that_contradicts_a_row_is_a_line(bring):
    log = "".join(
        f"INSERT c_LoggedJob (ID, c_JobID, WhenStarted, enmRunStatus_JobStatus) VALUES ({day}, 1, '2026-11-{day:02d}T07:00:05', 'Success')\n"
        for day in range(1, 25)
    )
    (lines,) = asked_of(bring(SAME + log)).values()

    assert [line.job for line in lines] == ["Noon"]
    assert "07:00" in lines[0].question


class Shop:
    def __init__(self, folder):
        self.folder, self.root = folder, folder / "shop"

    def bring(self, *rows, status=0):
        export = self.folder / "export.sql"
        export.write_text("".join(rows), encoding="utf-8")
        where = "--into" if self.root.exists() else "--new"
        words = ["import-legacy", export, "--timezone", "Asia/Jerusalem", where, self.root]
        done = CliRunner().invoke(main, [*map(str, words), "--paused"], prog_name="targcc-gen")
        assert done.exit_code == status, done.output
        return done.output

    @property
    def list(self):
        return self.root / "legacy" / "decisions.csv"

    @property
    def lines(self):
        with self.list.open(encoding="utf-8-sig", newline="") as stream:
            return list(csv.DictReader(stream))


@pytest.fixture
def shop(tmp_path):
    return Shop(tmp_path)


def test_the_list_has_the_lines_of_the_cut_over_file(shop):
    output = shop.bring(SAME, SHIFTED)
    jobs = json.loads((shop.root / "legacy/cutover.json").read_text(encoding="utf-8"))["jobs"]
    needed = {job["name"]: [each["id"] for each in job.get("decisions", ())] for job in jobs}

    assert needed["Noon"] == []
    assert [line["Id"] for line in shop.lines] == needed["In the gap"]
    assert {line["Job"] for line in shop.lines} == {"In the gap"}
    assert f"decisions.csv: {len(shop.lines)} lines to sign" in output


@pytest.mark.parametrize(
    ("encoding", "delimiter"),
    [("utf-8-sig", ","), ("utf-16", "\t"), ("utf-8", ";"), ("cp1255", ";")],
)
def test_a_second_import_keeps_what_people_wrote(shop, encoding, delimiter):
    shop.bring(SHIFTED)
    lines = shop.lines
    lines[0] |= {"Decision": "go", "By": "דנה", "Date": "30/11/2026"}
    with shop.list.open("w", encoding=encoding, newline="") as stream:
        writer = csv.DictWriter(stream, list(lines[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(lines)

    saved = shop.list.read_bytes()
    shop.bring(SHIFTED)
    assert shop.list.read_bytes() == saved  # the same export changes no byte
    output = shop.bring(SHIFTED, BOTH)

    kept = {line["Id"]: line for line in shop.lines}[lines[0]["Id"]]
    assert (kept["Decision"], kept["By"], kept["Date"]) == ("go", "דנה", "30/11/2026")
    assert len(shop.lines) > len(lines)
    assert f"{len(shop.lines) - 1} lines to sign" in output


def test_a_file_that_is_no_list_stops_the_import_before_anything_is_written(shop):
    shop.bring(SHIFTED)
    shop.list.write_text("my notes\n", encoding="utf-8")
    before = (shop.root / "targcc.yaml").read_bytes()

    assert "it has no column Id" in shop.bring(SHIFTED, BOTH, status=2)
    assert shop.list.read_text(encoding="utf-8") == "my notes\n"
    assert (shop.root / "targcc.yaml").read_bytes() == before
