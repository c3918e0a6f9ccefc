"""Check the alerts of jobs at the start: a channel without address, an unknown channel, a missing secret, no mail server."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from ...core.errors import SecretError
from ...core.secrets import resolve
from ...kernel.jobs.checks import JobFinding, finding
from ...kernel.jobs.definition import Alerts, JobDefinition
from ...project import current
from .policy import Recipients, Target

if TYPE_CHECKING:
    from ...settings import Settings

_CHANNELS = ("mail", "slack", "teams", "webhook")


def alert_addresses(jobs: Iterable[JobDefinition], settings: Settings) -> Iterator[JobFinding]:
    """Yield a finding for each job whose alerts cannot be sent. Findings hold no secret values.

    A fault in the code fails. A secret or a mail server that this process lacks does not: another environment may have it.
    """
    known = {*_CHANNELS, *current().alerts.get("channels", {})}
    for job in jobs:
        if job.alerts is None:
            continue
        yield from _faults(job, job.alerts, known)
        reasons = {_missing(target, settings) for target in Recipients.of(vars(job.alerts)).targets}
        for reason, advice in sorted(reasons - {("", "")}):
            cause = f"alerts of {job.name} cannot be sent: {reason}"
            yield finding(job, cause, advice, fails=False, subject="alerts")


def _faults(job: JobDefinition, alerts: Alerts, known: set[str]) -> Iterator[JobFinding]:
    named = {"slack": alerts.slack, "teams": alerts.teams, "webhook": alerts.webhook}
    empty = [
        channel for channel, address in named.items() if address is not None and not address.strip()
    ]
    empty += [
        channel for channel, address in alerts.other.items() if not str(address or "").strip()
    ]
    empty += ["email"] if any(not address.strip() for address in alerts.email) else []
    for channel in empty:
        yield finding(
            job,
            f"alerts of {job.name} by {channel} have no address",
            f"give {channel} an address, such as a reference to a variable, or remove it",
            subject="alerts",
        )
    for channel in sorted(alerts.other.keys() - known):
        yield finding(
            job,
            f"alerts of {job.name} name the channel {channel}, which the project does not have",
            f"add it to alerts: channels: of targcc.yaml; the project has {', '.join(sorted(known))}",
            subject="alerts",
        )


def _missing(target: Target, settings: Settings) -> tuple[str, str]:
    """Return why an alert to a recipient cannot be sent from this process, and the way out; empty texts if it can."""
    try:
        resolve(target.address)
    except SecretError as error:
        return str(error), "set it"
    if target.channel == "mail" and not settings.smtp_host:
        return "there is no mail server", "set TARGCC_SMTP_HOST"
    return "", ""
