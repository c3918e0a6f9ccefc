"""``targcc alert-rules``: rules by which Prometheus notices what this scheduler cannot tell any more."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click

from ....jobs.definition import JobDefinition
from ....project import current
from ....scheduler import Scheduler
from ...common import settings


@click.command("alert-rules")
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write to this file; by default to standard output.",
)
def alert_rules(output: Path | None) -> None:
    """Print alert rules for Prometheus: for the scheduler as a whole, and for each job that says what is expected of it.

    \b
    Example:
      targcc alert-rules --output targcc-rules.yml
    """
    text = rules_text(current().name, Scheduler(settings()).definitions.values())
    if output is None:
        click.echo(text, nl=False)
    else:
        output.write_text(text, encoding="utf-8")
        click.echo(f"{output} is written: name it under rule_files in prometheus.yml")


def rules_text(project: str, jobs: Iterable[JobDefinition]) -> str:
    """The rules as a file of Prometheus. Texts are quoted as JSON, which YAML reads."""
    lines = ["groups:", f"  - name: {json.dumps(f'targcc {project}')}", "    rules:"]
    for rule in [*_whole(project), *(rule for job in jobs for rule in _of_job(job))]:
        lines += [
            f"      - alert: {rule['alert']}",
            f"        expr: {json.dumps(rule['expr'], ensure_ascii=False)}",
            f"        for: {rule['for']}",
            f"        labels: {json.dumps(rule['labels'], ensure_ascii=False)}",
            f"        annotations: {json.dumps({'summary': rule['summary']}, ensure_ascii=False)}",
        ]
    return "\n".join(lines) + "\n"


def _rule(
    alert: str,
    expr: str,
    summary: str,
    *,
    after: str = "5m",
    severity: str = "critical",
    **labels: str,
) -> dict[str, Any]:
    return {
        "alert": alert,
        "expr": expr,
        "for": after,
        "labels": {"severity": severity, **labels},
        "summary": summary,
    }


def _whole(project: str) -> Iterator[dict[str, Any]]:
    yield _rule(
        "TargccAbsent",
        f"absent(targcc_info{{project={_quoted(project)}}})",
        f"Nothing is heard of the scheduler of {project}",
    )
    yield _rule("TargccNoServer", "targcc_servers == 0", "No server of the scheduler is up")
    yield _rule(
        "TargccServerSilent",
        "targcc_oldest_heartbeat_seconds > 60",
        "A server of the scheduler says nothing",
        after="1m",
    )
    yield _rule(
        "TargccLate", "targcc_late > 0", "{{ $labels.subject }} is late ({{ $labels.kind }})"
    )
    yield _rule(
        "TargccFailures",
        "targcc_open_failures > 0",
        "{{ $value }} failed runs of {{ $labels.job }} wait for a person",
        severity="warning",
    )
    yield _rule(
        "TargccQueuePaused",
        "targcc_queue_paused == 1",
        "The queue {{ $labels.queue }} is paused",
        after="1h",
        severity="warning",
    )
    yield _rule(
        "TargccBrokenJobFiles",
        "targcc_broken_job_files > 0",
        "{{ $value }} job files cannot be used",
        severity="warning",
    )


def _of_job(job: JobDefinition) -> Iterator[dict[str, Any]]:
    """A job that has to succeed so often is watched by its last success, which needs no scheduler that is up."""
    expected = job.expectations
    if not expected.successes:
        return
    seconds = round(expected.within.total_seconds())
    last = f"targcc_job_last_success_timestamp_seconds{{job={_quoted(job.name)}}}"
    yield _rule(
        f"TargccExpected_{_name(job.name)}",
        f"time() - {last} > {seconds}",
        f"{job.display_name} has to have {expected.at_least}",
        after="1m",
        job=job.name,
    )


def _quoted(text: str) -> str:
    """A text as PromQL quotes it."""
    return json.dumps(text, ensure_ascii=False)


def _name(text: str) -> str:
    return re.sub(r"\W", "_", text, flags=re.ASCII)
