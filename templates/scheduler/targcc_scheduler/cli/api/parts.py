"""Which module of the API has which addresses, so that a command imports no more than one."""

from __future__ import annotations

_PARTS = {
    "jobs": ("jobs", "overrides", "owners", "oncall", "timeline.routes", "files.routes"),
    "history": ("jobs",),
    "chains": ("jobs",),
    "overrides": ("overrides",),
    "owners": ("owners",),
    "runs": ("runs", "files.routes", "oncall", "live.events"),
    "events": ("live.events",),
    "calendar": ("timeline.routes",),
    "timeline": ("timeline.routes",),
    "heatmap": ("timeline.routes",),
    "flows": ("flows.routes", "live.events"),
    "batches": ("batches.routes", "live.events"),
    "limits": ("limits.routes",),
    "calendars": ("calendars.routes",),
    "maintenance": ("calendars.routes",),
    "webhooks": ("live.webhooks",),
    "inbox": ("oncall",),
    "seen": ("oncall",),
    "bulk": ("oncall",),
    "audit": ("audit",),
    "sessions": ("sessions",),
    "tokens": ("sessions",),
    "users": ("sessions",),
    "views": ("sessions",),
}


def part_names(path: str) -> tuple[str, ...]:
    """The modules that may have a path such as ``/api/jobs/DailyReport/why``, the likeliest first."""
    return _PARTS.get(path.removeprefix("/api/").partition("/")[0], ("system",))
