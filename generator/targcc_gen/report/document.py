"""The report as HTML, JSON or Markdown, for the cut-over's decision makers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from targcc_gen.errors import ReportError
from targcc_gen.evidence.model import Weighed
from targcc_gen.parity.shapes import Difference
from targcc_gen.report.content import QUEUE_HEADINGS, content, queue_cells
from targcc_gen.report.runbook import LOAD_HEADINGS, STEP_HEADINGS, load_cells, step_cells
from targcc_gen.sources.model import Import

# Markdown.

_FILE_HEADINGS = ("File", "Encoding", "Kind", "Rows")
_JOB_HEADINGS = (
    "Job",
    "Old name",
    "Stands",
    "Runs",
    "Old next run",
    "New next runs",
    "Calls",
    "Old schedule",
    "Typical / longest",
    "Mailed",
)
_SIGN_HEADINGS = ("Job", "Stands", "To decide", "Decision", "By, on")


def markdown(content: dict[str, Any]) -> str:
    """Return the report as Markdown.

    Args:
        content: The content of the report.
    """
    counts = content["counts"]
    made = (
        f"Made by {content['generator']} at {content['made_at']}. The old server's time zone is {content['timezone']};"
        f" its cron texts were read as {content['cron_dialect']}."
    )
    total = (
        f"**{counts['rows']} rows of {content['table']}: {counts['jobs']} jobs, {counts['inactive']} inactive (created paused),"
        f" {counts['rejected']} rejected.**"
    )
    everything = [*content["jobs"], *content["inactive"], *content["second"]]
    rejected = [(f"{r['file']}:{r['line']}", r["name"], r["reason"]) for r in content["rejected"]]
    lines = ["# The old jobs come over", "", made, "", total, "", _history(counts), ""]
    lines += _runbook_lines(content["runbook"])
    lines += _section("Sums", ("Table", "Read", "Ended as"), map(_sum_cells, content["balances"]))
    lines += _section("Files", _FILE_HEADINGS, map(_file_cells, content["files"]))
    lines += _section("Sign-off", _SIGN_HEADINGS, map(_sign_cells, everything))
    lines += _section("Jobs", _JOB_HEADINGS, map(_job_cells, content["jobs"]))
    lines += _section("Inactive jobs", _JOB_HEADINGS, map(_job_cells, content["inactive"]))
    if content["second"]:
        lines += _section("Second schedules", _JOB_HEADINGS, map(_job_cells, content["second"]))
    lines += _section("Rejected rows", ("Place", "Name", "Reason"), rejected)
    lines += _evidence_lines(everything)
    lines += _parity_lines(content)
    lines += _section("Runners", QUEUE_HEADINGS, map(queue_cells, content["queues"]))
    lines += _list("Questions to the owner", content["questions"])
    lines += _list("What you may want to change", content["advice"])
    lines += _load_lines(content["load"])
    lines += ["## Warnings", ""]
    lines += [f"* {cell(text)}" for text in content["warnings"]] or ["None."]
    return "\n".join(lines).rstrip() + "\n"


def _runbook_lines(runbook: dict[str, Any] | None) -> list[str]:
    if runbook is None:
        return []
    load = runbook["load"]
    lines = ["## Runbook", "", f"Quiet window: {runbook['window']}.", ""]
    lines += _table(STEP_HEADINGS, list(map(step_cells, runbook["steps"])))
    lines += ["### The way back", "", f"Point of no return: {cell(runbook['no_return'])}.", ""]
    lines += _table(STEP_HEADINGS, list(map(step_cells, runbook["back"])))
    if runbook["stops"]:
        lines += ["### What stops with the old server", ""]
        lines += [*(f"* [ ] {cell(text)}" for text in runbook["stops"]), ""]
    lines += ["### Load here", "", *_table(LOAD_HEADINGS, list(map(load_cells, load["queues"])))]
    lines += [" ".join(load["assumptions"]), ""]
    for name, sql in runbook["scripts"].items():
        lines += [f"### {name}", "", "```sql", *sql.rstrip().replace("```", "` ` `").splitlines(), "```", ""]  # fmt: skip
    return lines


def _list(title: str, texts: Sequence[str]) -> list[str]:
    return [f"## {title}", "", *(f"* {cell(text)}" for text in texts), ""] if texts else []


def _history(counts: dict[str, Any]) -> str:
    left_out = [f"{count:,} {why}" for why, count in counts["history_left_out"].items()]
    rest = f" Left out: {', '.join(left_out)}; the warnings say where they are." if left_out else ""
    return f"{counts['history']:,} rows of history.{rest}"


def _sum_cells(cells: dict[str, Any]) -> Sequence[str]:
    ends = " + ".join(f"{count:,} {why}" for why, count in cells["ends"].items())
    return cells["table"], f"{cells['read']:,}", f"{ends or '0'} = {cells['sum']:,}"


def _parity_lines(content: dict[str, Any]) -> list[str]:
    check, stand = content["parity"], content["standings"]
    words = (
        f"{check['same']} of {check['compared']} jobs whose schedules can be compared fire exactly as before until"
        f" {check['until']}, by their schedules and by their history; of {stand['no evidence']} more nothing tells when they"
        f" ran. {check['model']}"
    )
    rows = [
        (difference["key"], difference["at"], difference["old"], difference["new"])
        for difference in check["differ"]
    ]
    groups = [
        (cause["cause"], str(len(cause["jobs"])), f"{cause['starts']:,}", cause["first"])
        for cause in check["causes"]
    ]
    headings = ("Cause", "Jobs", "Starts in 13 months", "First on")
    by_cause = ["### By cause", "", *_table(headings, groups)] if groups else []
    each = ["### By job", "", *_table(("Job", "First on", "Old", "New"), rows)] if rows else []
    return ["## Parity", "", words, "", *by_cause, *each]


def _evidence_lines(jobs: Sequence[dict[str, Any]]) -> list[str]:
    rows = [
        (job["key"], job["evidence"]["verdict"], job["evidence"]["text"], _findings(job))
        for job in jobs
    ]
    return _section("Evidence", ("Job", "Verdict", "Because", "Look at"), rows)


def _findings(job: dict[str, Any]) -> str:
    texts = []
    for finding in job["evidence"]["findings"]:
        examples = f" ({', '.join(finding['examples'])})" if finding["examples"] else ""
        chosen = f" → {finding['chosen']}" if finding["chosen"] else ""
        texts.append(f"{finding['kind']}: {finding['text']}{examples}{chosen}")
    if touches := job["touches"]:
        uses = ("writes", "reads", "calls")
        texts += [f"{what} {', '.join(touches[what])}" for what in uses if touches[what]]
    return "\n".join(texts)


def _load_lines(load: dict[str, Any]) -> list[str]:
    days = load["days"]
    words = (
        f"A usual day, by {days} days of history before and by the new schedules after."
        if days
        else "A usual day by the new schedules; there is no history of the days before."
    )
    rows = [
        (
            f"{hour['hour']:02d}:00",
            *(
                f"{hour[side]['runs']:g} runs, {hour[side]['minutes']:g} min"
                for side in ("before", "after")
            ),
        )
        for hour in load["hours"]
    ]
    return ["## Load by the hour", "", words, "", *_table(("Hour", "Before", "After"), rows)]


def _job_cells(job: dict[str, Any]) -> Sequence[str]:
    runs = [f"{run['local']} ({run['utc']})" for run in job["next_runs"]]
    times, mailed = job["durations"], job["mailed"]
    return (
        job["key"],
        job["name"],
        job["standing"],
        job["schedule"],
        job["next"]["old"] or "",
        "\n".join(runs),
        job["work"],
        job["old"]["schedule"],
        f"{times['typical']} / {times['longest']}" if times else "",
        "\n".join(filter(None, [", ".join(mailed["to"]), mailed["when"]])),
    )


def _sign_cells(job: dict[str, Any]) -> Sequence[str]:
    return job["key"], job["standing"], "\n".join(job["questions"]), "☐ yes ☐ no", ""


def _file_cells(file: dict[str, Any]) -> Sequence[str]:
    rows = ", ".join(f"{count:,} {table}" for table, count in file["rows"].items())
    return file["file"], file["encoding"], file["kind"], rows or "none"


def _section(title: str, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [f"## {title}", "", *(_table(headings, list(rows)) or ["None.", ""])]


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    if not rows:
        return []
    head = ["| " + " | ".join(headings) + " |", "|" + " --- |" * len(headings)]
    return [*head, *("| " + " | ".join(map(cell, row)) + " |" for row in rows), ""]


def cell(text: str) -> str:
    """Escape text of an export for a table cell: it must not become markup."""
    for letter in "\\|<>*`[]":
        text = text.replace(letter, "\\" + letter)
    return "<br>".join(text.splitlines())


# Formats.

FORMATS = (".md", ".html", ".json")


def write_report(
    path: Path,
    result: Import,
    differences: Sequence[Difference],
    weighed: Weighed | None = None,
    *,
    moves: bool = True,
) -> None:
    """Write the report as Markdown, HTML or JSON, by the file's suffix.

    Args:
        path: The file.
        result: The outcome of every row.
        differences: The differences between old and new schedules.
        weighed: The evidence of the history.
        moves: Whether the jobs leave the old scheduler, which gives the report a runbook.

    Raises:
        InputError: The suffix is unknown, or the file cannot be written.
    """
    render = {".md": markdown, ".html": _html, ".json": _json}.get(path.suffix.lower())
    if render is None:
        raise ReportError(
            f"{path}: a report is {', '.join(FORMATS)}", hint="Such as --report cutover.html"
        )
    text = render(content(result, differences, weighed or Weighed(), moves=moves))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise ReportError(f"{path}: {error.strerror or error}") from None


def _json(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _html(content: dict[str, Any]) -> str:
    import jinja2

    template = Path(__file__).with_name("report.html.jinja").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(template).render(content)
