"""Jobs with unique keys and limits, and flows whose steps run them."""

# ruff: noqa: ARG001 - arguments make keys

import threading
from dataclasses import replace
from typing import Any

from projects import RIG
from targcc_scheduler import JobContext, JobResult, job

OPEN = threading.Event()
"""While cleared, each run of a halting job waits."""
UNDER_WAY: dict[str, int] = {}
MOST: dict[str, int] = {}
"""Highest number of concurrent runs per key."""
_LOCK = threading.Lock()


def _one_step(name: str, **arguments: Any) -> dict[str, Any]:
    return {"steps": {"only": {"job": name, "arguments": arguments}}}


FLOWS = {
    "AloneFlow": _one_step("Alone", key="{flow.key}") | {"arguments": {"key": "a"}},
    "LatestFlow": _one_step("Latest"),
    "HourlyFlow": _one_step("Hourly"),
    "DebouncedFlow": _one_step("Debounced"),
    "ThrottledFlow": _one_step("Throttled"),
    "PickyFlow": _one_step("Picky", number="{flow.number}") | {"arguments": {"number": 0}},
    "Many": {
        "arguments": {"tenants": ""},
        "steps": {
            "list": {"job": "Listed", "arguments": {"tenants": "{flow.tenants}"}},
            "each": {
                "job": "Alone",
                "after": "list",
                "for_each": "list.tenants",
                "arguments": {"key": "{item}"},
            },
            "room": {
                "job": "Roomy",
                "after": "list",
                "for_each": "list.tenants",
                "arguments": {"tenant": "{item}"},
            },
            "both": {"job": "Both", "after": ["each", "room"], "for_each": "list.tenants"},
        },
    },
}


def project():
    """Return a project with these flows and without retries."""
    return replace(RIG, retries=0, flows=FLOWS, queues={"default": 8, "held": 4})


def _perform(key: str, *, halts: bool = False) -> None:
    with _LOCK:
        UNDER_WAY[key] = UNDER_WAY.get(key, 0) + 1
        MOST[key] = max(MOST.get(key, 0), UNDER_WAY[key])
    try:
        assert not halts or OPEN.wait(60)
    finally:
        with _LOCK:
            UNDER_WAY[key] -= 1


@job(unique="key", expires_in="1h")
def alone(ctx: JobContext, key: str, note: str = "nothing") -> JobResult:
    _perform(key, halts=True)
    return JobResult.success(key)


@job(unique=True, on_duplicate="replace", queue="held")
def latest(ctx: JobContext, note: str = "nothing") -> None:
    _perform("latest", halts=True)


@job(unique=True, unique_scope="1h")
def hourly(ctx: JobContext) -> None: ...


@job(unique=True, on_duplicate="debounce 1h")
def debounced(ctx: JobContext) -> None: ...


@job(unique=True, on_duplicate="throttle 1h")
def throttled(ctx: JobContext) -> None: ...


@job(unique=lambda number: 10 / number)
def picky(ctx: JobContext, number: int) -> None: ...


@job()
def listed(ctx: JobContext, tenants: str) -> JobResult:
    return JobResult.success().with_metadata(tenants=list(tenants))


@job(limit={"key": "tenant", "running": 1})
def roomy(ctx: JobContext, tenant: str) -> None:
    _perform(f"room of {tenant}")


@job(unique=True, limit={"running": 1})
def both(ctx: JobContext) -> None:
    _perform("both")
