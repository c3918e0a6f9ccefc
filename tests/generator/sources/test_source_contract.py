"""Contract of every job source: readers and import need no knowledge of a single source."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import croniter  # noqa: F401 - the import starts the program `file`, which no test of ring 1 may
import pytest
from targcc_gen.importing.project import new_project
from targcc_gen.parity.compare import compared, differences
from targcc_gen.readers import rows as reader_rows
from targcc_gen.readers.exports import ExportFile, read_exports
from targcc_gen.readers.rows import ColumnKind, Item, KnownTables, Remark, Row
from targcc_gen.render import render_project
from targcc_gen.report.document import write_report
from targcc_gen.sources.c_job.source import CJobSource
from targcc_gen.sources.model import (
    Import,
    ImportedJob,
    LegacySource,
    OldJob,
    Options,
    Rejection,
    Warnings,
)
from targcc_gen.spec import JobSpec, Spec, parse_spec

OPTIONS = Options(ZoneInfo("Asia/Jerusalem"), datetime(2026, 11, 25, 1, 0, tzinfo=UTC))


@dataclass
class NoRuns:
    """History of a scheduler without runs."""

    rows: int = 0
    left_out: dict = field(default_factory=dict)
    is_empty: bool = True

    def of(self, _id, _name):
        return None

    def records(self, _zone, _named):
        return iter(())


class TaskSource:
    """Source of another old scheduler: one table whose rows have a crontab line and a command."""

    tables = KnownTables(
        names={"task": "Task"},
        main="task",
        signs={"task": frozenset({"crontab", "command"})},
        shapes={"task": (["key", "title", "crontab", "command"],)},
        identity="key",
        columns=frozenset({"key", "title", "crontab", "command"}),
        kinds={"key": ColumnKind.INTEGER, "crontab": ColumnKind.CRON},
    )

    def __init__(self):
        self.items: list[Item] = []

    def take(self, item: Item) -> None:
        self.items.append(item)

    def convert(
        self, files: Sequence[ExportFile], options: Options, *, project: Spec | None = None
    ) -> Import:
        result = Import(self.tables, files, options, NoRuns(), Warnings())
        for item in self.items:
            if isinstance(item, Remark) and item.table:
                result.rejected.append(Rejection(item.file, item.line, item.text))
            elif isinstance(item, Remark):
                result.warnings.add(item.place, item.text)
            elif project and reader_rows.text(item, "title") in project.jobs:
                result.rejected.append(Rejection(item.file, item.line, "the name is taken"))
            else:
                result.jobs.append(self._job(item))
        return result

    def _job(self, row: Row) -> ImportedJob:
        title, cron = reader_rows.text(row, "title") or "", reader_rows.text(row, "crontab") or ""
        old = OldJob(title, reader_rows.key(row, "key"), cron)
        return ImportedJob(title, JobSpec(cron=cron, blueprint="not-ported"), row, old)


def c_job_row(number: int, name: str, cron: str) -> str:
    return (
        "INSERT c_Job (ID, JobName, CronExpression, StoredProcName, IsActive) "
        f"VALUES ({number}, N'{name}', N'{cron}', N'dbo.usp', 1)\n"
    )


def task_row(number: int, name: str, cron: str) -> str:
    return f"INSERT Task ([Key], Title, Crontab, Command) VALUES ({number}, '{name}', '{cron}', 'x.exe')\n"


SOURCES = [
    pytest.param(CJobSource, c_job_row, id="c_job"),
    pytest.param(TaskSource, task_row, id="another"),
]
Rows = Callable[[int, str, str], str]


def brought(
    source: LegacySource, folder: Path, text: str, name: str = "dump.sql", **options
) -> Import:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    files = read_exports([path], source.tables, source.take)
    return source.convert(files, OPTIONS, **options)


@pytest.mark.parametrize(("make", "row"), SOURCES)
def test_each_row_of_the_main_table_has_one_end(tmp_path, make: type[LegacySource], row: Rows):
    text = row(1, "Nightly", "0 2 * * *") + row(2, "Weekly", "0 3 * * 1")
    one_value_short = re.sub(r", N?'Broken'", "", row(3, "Broken", "0 4 * * *"))

    result = brought(make(), tmp_path, text + one_value_short)

    assert result.rows == 3
    assert [job.key for job in result.all_jobs] == ["Nightly", "Weekly"]
    assert [rejection.line for rejection in result.rejected] == [3]
    assert result.rejected[0].reason


@pytest.mark.parametrize(("make", "row"), SOURCES)
def test_a_job_knows_its_row_and_what_it_was(tmp_path, make: type[LegacySource], row: Rows):
    (job,) = brought(make(), tmp_path, row(7, "Nightly", "0 2 * * *")).jobs

    assert (job.row.place, job.old.id) == (f"{tmp_path / 'dump.sql'}:1", "7")
    assert job.old.schedule_text == "0 2 * * *"


@pytest.mark.parametrize(("make", "row"), SOURCES)
def test_what_is_said_of_a_file_as_a_whole_is_a_warning(tmp_path, make, row: Rows):
    path = tmp_path / "dump.sql"
    path.write_bytes(row(1, "Nächtlich", "0 2 * * *").encode("cp1252"))
    source = make()

    files = read_exports([path], source.tables, source.take)

    warnings = list(source.convert(files, OPTIONS).warnings)
    assert f"{path}: read as cp1252, the likeliest; --encoding says otherwise" in warnings


@pytest.mark.parametrize(("make", "row"), SOURCES)
def test_a_name_that_the_project_has_is_not_taken_twice(tmp_path, make, row: Rows):
    text = 'targcc: 1\nproject: {name: shop}\njobs: {Nightly: {cron: "0 5 * * *"}}\n'
    project = parse_spec(text, "targcc.yaml")

    result = brought(make(), tmp_path, row(1, "Nightly", "0 2 * * *"), project=project)

    assert result.rows == len(result.all_jobs) + len(result.rejected) == 1
    assert all(job.key == "Nightly" for job in result.all_jobs)


@pytest.mark.slow
@pytest.mark.parametrize(("make", "row"), SOURCES)
def test_everything_after_a_source_works_with_what_it_gives(tmp_path, make, row: Rows):
    result = brought(make(), tmp_path, row(1, "Nightly", "30 2 * * *"))
    shown = result.tables.main_shown

    all_differences = differences(result)
    write_report(tmp_path / "report.md", result, all_differences)
    arrival = new_project(result, tmp_path / "shop", lambda spec, _: render_project(spec))

    assert (compared(result), [difference.kind for difference in all_differences]) == (
        1,
        ["spring"],
    )
    assert f"**1 rows of {shown}: 1 jobs" in (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "src/shop/jobs/nightly.py" in {change.path for change in arrival.plan.changes}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("dump.sql", "INSERT Task VALUES (1, 'A', '0,30 2 * * *', 'a.exe')\n"),
        ("dump.csv", 'Key,Title,Crontab,Command\n1,A,"0,30 2 * * *",a.exe\n'),
        ("grid.csv", "1;A;0,30 2 * * *;a.exe\n"),
        ("dump.json", '[{"Key": 1, "Title": "A", "Crontab": "0,30 2 * * *", "Command": "a.exe"}]'),
        ("task.xml", '<row Key="1" Title="A" Crontab="0,30 2 * * *" Command="a.exe"/>'),
    ],
)
def test_the_readers_read_tables_they_have_never_heard_of(tmp_path, name: str, text: str):
    (job,) = brought(TaskSource(), tmp_path, text, name).jobs

    assert (job.key, job.spec.cron, job.old.id) == ("A", "0,30 2 * * *", "1")
