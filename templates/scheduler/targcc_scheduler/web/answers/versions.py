"""``ETag``, ``If-None-Match`` and ``If-Match``: the version of what is shown, so that nobody overwrites what they have not seen.

A tag has two parts: of what people can change, and of the whole document. ``If-None-Match`` compares both, so that a 304 is exact. ``If-Match``
compares the first: a job whose next run came nearer is not changed, one that somebody paused is.
"""

from __future__ import annotations

import hashlib
import json
import re

_TAG = re.compile(r'(?:W/)?"([^"]*)"')
_MOVES: dict[str, frozenset[str]] = {
    "/api/jobs/{name}": frozenset(
        {"next_run", "next_runs", "calendar_changes", "last_run", "success_rate"}
    ),
    "/api/jobs/{name}/overrides": frozenset(),
    "/api/queues/{name}": frozenset(
        {"waiting", "scheduled", "retrying", "running", "oldest_due", "maintenance_until"}
    ),
    "/api/runs/{run_id}": frozenset({"log", "steps", "progress_done", "progress_total"}),
    "/api/inbox/{cause}": frozenset({"last_at", "trend", "works_since", "total", "in_hand"}),
    "/api/bulk/{bulk_id}": frozenset({"done", "refused"}),
}
"""What can be changed, and which of its fields change by themselves."""


def changed_by(path: str) -> str | None:
    """The path that shows what a route changes; ``None`` when nothing does."""
    prefix, api, rest = path.rpartition("/api/")
    own = api + rest
    found = [one for one in _MOVES if own == one or own.startswith(f"{one}/")]
    return f"{prefix}{max(found, key=len)}" if found else None


def tag(path: str, whole: bytes, body: bytes) -> str:
    """The version of a document.

    Args:
        path: The route that shows it.
        whole: All of it.
        body: What is sent of it.
    """
    _, api, rest = path.rpartition("/api/")
    moves = _MOVES.get(api + rest)
    if not moves:
        return f'"{_digest(whole)}-{_digest(body)}"'
    still = {name: value for name, value in json.loads(whole).items() if name not in moves}
    return f'"{_digest(json.dumps(still).encode())}-{_digest(body)}"'


def fits(asked: str | None, current: str, *, exactly: bool = False) -> bool:
    """Whether one of the tags in a header is that of the document now.

    Args:
        asked: The header. A proxy that compresses answers makes tags weak ones, which are taken for the same.
        current: The tag now.
        exactly: Whether all of the document has to be the same, or only what people can change.
    """
    if asked is None:
        return False
    if asked.strip() == "*":
        return True
    now = current.strip('"')
    if exactly:
        return now in _TAG.findall(asked)
    return now.partition("-")[0] in {one.partition("-")[0] for one in _TAG.findall(asked)}


def _digest(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()[:16]
