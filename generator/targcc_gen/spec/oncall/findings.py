"""What must hold between the keys of `alerts` and `oncall`: whoever is called is known, and somebody is told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from targcc_gen.spec.findings import Finding, Steps, mapping
from targcc_gen.spec.value_errors import nearest

_Placed = tuple[Steps, Mapping[str, Any]]

RECIPIENTS = ("email", "slack", "teams", "webhook", "other", "oncall")
"""The keys that say who is told."""


def policy_findings(spec: Mapping[str, Any]) -> Iterator[Finding]:
    """What is wrong between the keys of `alerts` and `oncall`.

    Args:
        spec: The keys that are given, with values of any type.
    """
    alerts, oncall = mapping(spec.get("alerts")), mapping(spec.get("oncall"))
    yield from _unknown_people(oncall)
    for path, said in _told(alerts):
        if not any(said.get(key) for key in RECIPIENTS):
            hint = "give email, slack, teams, webhook, other or oncall"
            yield Finding(path, "nobody gets this", hint, at="key")
    every: list[_Placed] = [(("alerts",), alerts), *_told(alerts), *_of_jobs(spec)]
    if not _list(oncall.get("rota")):
        for path, said in every:
            if said.get("oncall") is True:
                hint = "say who, below oncall, rota"
                yield Finding((*path, "oncall"), "nobody is on call", hint, at="key")
    known = list(map(str, mapping(alerts.get("channels"))))
    for path, said in every:
        for name in mapping(said.get("other")):
            if name not in known:
                hint = nearest(str(name), known) or "name its class below alerts, channels"
                yield Finding((*path, "other", name), f'no channel "{name}"', hint, at="key")


def _unknown_people(oncall: Mapping[str, Any]) -> Iterator[Finding]:
    people = list(map(str, mapping(oncall.get("people"))))
    for number, shift in enumerate(_list(oncall.get("rota"))):
        who = mapping(shift).get("who")
        if isinstance(who, str) and who not in people:
            hint = nearest(who, people) or "name them below oncall, people"
            yield Finding(("oncall", "rota", number, "who"), f'no person "{who}"', hint)


def _told(alerts: Mapping[str, Any]) -> Iterator[_Placed]:
    """The digest and the steps of the escalation."""
    if alerts.get("digest") is not None:
        yield ("alerts", "digest"), mapping(alerts["digest"])
    for number, step in enumerate(_list(alerts.get("escalation"))):
        yield ("alerts", "escalation", number), mapping(step)


def _of_jobs(spec: Mapping[str, Any]) -> Iterator[_Placed]:
    for key, job in mapping(spec.get("jobs")).items():
        yield ("jobs", key, "alerts"), mapping(mapping(job).get("alerts"))


def _list(value: object) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []
