"""``targcc alert`` and ``targcc alert-rules``."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import click
from sqlalchemy.ext.asyncio import AsyncConnection

from ...cli.common import opened, operator, run, settings
from ...cli.group import CliError, Commands
from ...cli.output import json_option, print_json, print_table, shows, when
from ...core.errors import AlertError
from ...kernel.audit import audit
from ...kernel.jobs.definition import JobDefinition
from ...project import current
from ...scheduler import Scheduler
from .delivery import AlertSender, Tried, try_out
from .model import AlertsNow, alerts_now, shown_address

# ``targcc alert``: test messages and open alerts.


@click.group("alert", cls=Commands)
def alert_group() -> None:
    """List open alerts, and test their delivery."""


@alert_group.command("test")
@click.option(
    "--channel",
    "channels",
    multiple=True,
    metavar="CHANNEL",
    help="Only this channel: email, slack, teams, webhook, or a custom channel. May be repeated.",
)
@click.option("--job", "name", metavar="NAME", help="Only recipients of the alerts of this job.")
@json_option
def try_alerts(*, channels: tuple[str, ...], name: str | None, as_json: bool) -> None:
    """Send a test message to all recipients of alerts, and print the result of each delivery.

    Exit status 1 when a delivery failed.

    \b
    Example:
      targcc alert test
      targcc alert test --channel slack --job DailyReport
    """

    async def work() -> Sequence[Tried]:
        async with opened() as scheduler:
            job = scheduler.definitions[scheduler.key_of(name)] if name is not None else None
            wanted = {"mail" if item == "email" else item for item in channels}
            by = operator()
            tried = await scheduler.call(try_out(_sender(scheduler), job, wanted, str(by)))

            async def note(db: AsyncConnection) -> None:
                failed = sum(item.reason is not None for item in tried)
                report = f"{len(tried)} messages, {failed} not sent"
                await audit(
                    db,
                    by,
                    "alert-test",
                    scheduler.clock.now(),
                    job_name=job.name if job else None,
                    detail=report,
                )

            if tried:
                await scheduler.change(note)
        return tried

    tried = run(work())
    if not tried:
        raise CliError(
            "there is nobody to tell: set TARGCC_ALERT_EMAIL, or alerts in targcc.yaml, or name a job",
            code=AlertError.code,
        )
    report = [
        {
            "channel": item.target.channel,
            "to": shown_address(item.target.address),
            "reason": item.reason,
        }
        for item in tried
    ]
    if as_json:
        print_json(report)
    else:
        rows = [
            [item["channel"] or "", item["to"] or "", item["reason"] or "sent"] for item in report
        ]
        print_table(["CHANNEL", "TO", "RESULT"], rows)
    if any(item.reason is not None for item in tried):
        raise click.exceptions.Exit(1)


@alert_group.command("list")
@shows
def list_alerts(*, as_json: bool) -> None:
    """List open alerts, waiting and failed messages, and who is on call.

    \b
    Example:
      targcc alert list
    """

    async def work() -> tuple[AlertsNow, str | None, datetime]:
        async with opened() as scheduler:
            now = scheduler.clock.now()
            on_call = _sender(scheduler).policy.rota.on_call(now)
            return await scheduler.read(alerts_now), on_call, now

    alerts, on_call, now = run(work())
    if as_json:
        print_json({"on_call": on_call, **asdict(alerts)})
        return
    if on_call is not None:
        click.echo(f"On call: {on_call}")
    _print(alerts, now)


def _print(alerts: AlertsNow, now: datetime) -> None:
    if alerts.going_on:
        print_table(
            ["NOT OVER SINCE", "TIMES", "STEPS", "ALERT"],
            [
                [when(alert.since, now), f"{alert.times:,}", str(alert.steps_taken), alert.title]
                for alert in alerts.going_on
            ],
        )
    if alerts.waiting:
        print_table(
            ["GOES", "CHANNEL", "TO", "TRIES", "MESSAGE"],
            [
                [when(alert.goes_at, now), alert.channel, alert.to, str(alert.tries), alert.title]
                for alert in alerts.waiting
            ],
        )
    for alert in alerts.failed:
        since = when(alert.since, now)
        click.echo(f"An alert about {alert.job} was not sent, {since}: {alert.reason}")
    if not alerts.any:
        click.echo("Every alert is over, and every message went out.")


def _sender(scheduler: Scheduler) -> AlertSender:
    return AlertSender(scheduler.store.engine, scheduler.settings, scheduler.clock)


# ``targcc alert-rules``: Prometheus rules for problems that a stopped scheduler cannot report.


@click.command("alert-rules")
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File to write. Default: standard output.",
)
def alert_rules(output: Path | None) -> None:
    """Print alert rules for Prometheus: for the scheduler, and for each job with declared expectations.

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
    """Render the rules as a Prometheus rule file. Texts are JSON strings, which are valid YAML."""
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
        "{{ $value }} failed runs of {{ $labels.job }} need attention",
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
        "{{ $value }} job files failed to load",
        severity="warning",
    )


def _of_job(job: JobDefinition) -> Iterator[dict[str, Any]]:
    """Yield a rule on the time since the last success, for a job that expects successes. The rule needs no running scheduler."""
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
    """Quote a text for PromQL."""
    return json.dumps(text, ensure_ascii=False)


def _name(text: str) -> str:
    return re.sub(r"\W", "_", text, flags=re.ASCII)
