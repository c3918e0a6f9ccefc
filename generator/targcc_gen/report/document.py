"""The report on an import, for the people who decide on the cut-over: what came over, when it will run, what differs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from targcc_gen import __version__
from targcc_gen.errors import InputError
from targcc_gen.parity import compare
from targcc_gen.parity.compare import Difference
from targcc_gen.render.job.jobs import schedule_words
from targcc_gen.sources.model import Import, ImportedJob
from targcc_gen.spec import job_values

FORMATS = (".md", ".html", ".json")
_NEXT_RUNS = 3


def outcome(result: Import) -> dict[str, list[Any]]:
    """What ``--json`` prints: every row's end, and the warnings."""
    return {
        "jobs": [_job(job) for job in result.jobs],
        "inactive": [_job(job) for job in result.inactive],
        "rejected": [
            {"file": one.file, "line": one.line, "reason": one.reason} for one in result.rejected
        ],
        "warnings": list(result.warnings),
    }


def _job(job: ImportedJob) -> dict[str, Any]:
    place = {"key": job.key, "name": job.stable_name, "file": job.row.file, "line": job.row.line}
    return place | {key: value for key, value in job_values(job.spec).items() if key != "name"}


def write_report(path: Path, result: Import, found: Sequence[Difference]) -> None:
    """Write the report as Markdown, HTML or JSON, as the file's name asks.

    Raises:
        InputError: The name ends in none of them, or the file cannot be written.
    """
    render = {".md": _markdown, ".html": _html, ".json": _json}.get(path.suffix.lower())
    if render is None:
        raise InputError(
            f"{path}: a report is {', '.join(FORMATS)}", hint="Such as --report cutover.html"
        )
    text = render(_content(result, found))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None


def _content(result: Import, found: Sequence[Difference]) -> dict[str, Any]:
    """Everything the report says, as JSON writes it; the other formats print it."""
    options = result.options
    return {
        "generator": f"targcc-gen {__version__}",
        "made_at": options.now.astimezone(UTC).isoformat(timespec="seconds"),
        "timezone": options.zone.key,
        "cron_dialect": options.dialect,
        "files": _files(result),
        "table": result.tables.main_shown,
        "counts": {
            "rows": result.rows,
            "jobs": len(result.jobs),
            "inactive": len(result.inactive),
            "rejected": len(result.rejected),
            "history": result.history.rows,
            "history_left_out": {why: rows.count for why, rows in result.history.left_out.items()},
        },
        "jobs": [_described(job, result) for job in result.jobs],
        "inactive": [_described(job, result) for job in result.inactive],
        "rejected": [
            {"file": one.file, "line": one.line, "name": one.name, "reason": one.reason}
            for one in result.rejected
        ],
        "parity": {
            "model": compare.MODEL,
            "until": compare.horizon(options.now).date().isoformat(),
            "compared": compare.compared(result),
            "same": compare.compared(result) - len(found),
            "differ": [_difference(one, options.zone) for one in found],
        },
        "warnings": list(result.warnings),
    }


def _files(result: Import) -> list[dict[str, Any]]:
    return [
        {
            "file": file.name,
            "encoding": file.encoding,
            "kind": file.kind,
            "rows": {result.tables.names[table]: count for table, count in file.counts.items()},
            "other_rows": dict(file.others),
        }
        for file in result.files
    ]


def _described(job: ImportedJob, result: Import) -> dict[str, Any]:
    options, old = result.options, job.old
    past = result.history.of(old.id, old.name)
    runs = compare.next_runs(job.spec, options.zone, options.now, _NEXT_RUNS)
    return {
        **_job(job),
        "schedule": schedule_words(job.spec),
        "next_runs": [
            {"local": shown(run), "utc": f"{run.astimezone(UTC):%Y-%m-%d %H:%M} UTC"}
            for run in runs
        ],
        "old": {
            "id": old.id,
            "schedule": old.schedule_text,
            "last_run": old.last_run.isoformat(" ", "seconds") if old.last_run else None,
            "next_run": old.next_run.isoformat(" ", "seconds") if old.next_run else None,
            "last_result": old.last_result,
            "failures": old.failures,
        },
        "history": {"runs": past.runs, "failures": past.failures} if past else None,
    }


def shown(moment: datetime) -> str:
    """A moment with its offset, as people read it: ``Wed 25 Nov 2026 02:00 +02:00``."""
    offset = f"{moment:%z}"
    return f"{moment:%a %d %b %Y %H:%M} {offset[:3]}:{offset[3:5]}"


def _difference(one: Difference, zone: ZoneInfo) -> dict[str, str]:
    return {
        "key": one.job.key,
        "kind": one.kind,
        "at": shown(one.at.astimezone(zone)),
        "old": one.old,
        "new": one.new,
    }


# --- Formats ----------------------------------------------------------------------------------------------------------


def _json(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _html(content: dict[str, Any]) -> str:
    import jinja2

    template = Path(__file__).with_name("report.html.jinja").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(template).render(content)


def _markdown(content: dict[str, Any]) -> str:
    counts = content["counts"]
    made = (
        f"Made by {content['generator']} at {content['made_at']}. The old server's time zone is {content['timezone']};"
        f" its cron texts were read as {content['cron_dialect']}."
    )
    total = (
        f"**{counts['rows']} rows of {content['table']}: {counts['jobs']} jobs, {counts['inactive']} inactive (created paused),"
        f" {counts['rejected']} rejected.**"
    )
    history = _history(counts)
    rejected = [(f"{r['file']}:{r['line']}", r["name"], r["reason"]) for r in content["rejected"]]
    lines = ["# The old jobs come over", "", made, "", total, "", history, ""]
    lines += _section("Files", _FILE_HEADINGS, map(_file_cells, content["files"]))
    lines += _section("Jobs", _JOB_HEADINGS, map(_job_cells, content["jobs"]))
    lines += _section("Inactive jobs", _JOB_HEADINGS, map(_job_cells, content["inactive"]))
    lines += _section("Rejected rows", ("Place", "Name", "Reason"), rejected)
    lines += _parity_lines(content["parity"])
    lines += ["## Warnings", ""]
    lines += [f"* {_cell(text)}" for text in content["warnings"]] or ["None."]
    return "\n".join(lines).rstrip() + "\n"


def _history(counts: dict[str, Any]) -> str:
    left_out = [f"{count:,} {why}" for why, count in counts["history_left_out"].items()]
    rest = f" Left out: {', '.join(left_out)}; the warnings say where they are." if left_out else ""
    return f"{counts['history']:,} rows of history.{rest}"


def _parity_lines(check: dict[str, Any]) -> list[str]:
    words = (
        f"{check['same']} of {check['compared']} jobs whose schedules can be compared fire exactly as before until"
        f" {check['until']}. {check['model']}"
    )
    rows = [(one["key"], one["at"], one["old"], one["new"]) for one in check["differ"]]
    return ["## Parity", "", words, "", *_table(("Job", "First on", "Old", "New"), rows)]


_FILE_HEADINGS = ("File", "Encoding", "Kind", "Rows")
_JOB_HEADINGS = (
    "Job",
    "Old name",
    "Runs",
    "Next runs",
    "Calls",
    "Old schedule",
    "Last run",
    "Alerts",
)


def _job_cells(job: dict[str, Any]) -> Sequence[str]:
    runs = [f"{run['local']} ({run['utc']})" for run in job["next_runs"]]
    alerts = job.get("alerts") or {}
    return (
        job["key"],
        job["name"],
        job["schedule"],
        "\n".join(runs),
        job.get("procedure") or "not yet ported",
        job["old"]["schedule"],
        job["old"]["last_run"] or "",
        ", ".join(alerts.get("email", ())),
    )


def _file_cells(file: dict[str, Any]) -> Sequence[str]:
    rows = ", ".join(f"{count:,} {table}" for table, count in file["rows"].items())
    return file["file"], file["encoding"], file["kind"], rows or "none"


def _section(title: str, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [f"## {title}", "", *(_table(headings, list(rows)) or ["None.", ""])]


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    if not rows:
        return []
    head = ["| " + " | ".join(headings) + " |", "|" + " --- |" * len(headings)]
    return [*head, *("| " + " | ".join(map(_cell, row)) + " |" for row in rows), ""]


def _cell(text: str) -> str:
    """Text from an export is data: it must not become markup."""
    for letter in "\\|<>*`[]":
        text = text.replace(letter, "\\" + letter)
    return "<br>".join(text.splitlines())
