"""Start the patched app as its server does, in a process of its own, and hear what it serves and what runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from targcc_gen.patch.app.layout import Layout
from targcc_gen.patch.check.environment import TIMEOUT, ask
from targcc_gen.patch.served.entry import Entry

Kind = Literal["verified", "untried", "refused", "failed"]

_SHOWN = 4
_JOB_SECONDS = 30
_REDIRECTS = range(300, 400)
_FORBIDDEN = frozenset({401, 403})


@dataclass(frozen=True)
class Outcome:
    """What a trial showed.

    Args:
        kind: `verified`: all of it works. `untried`: nothing can be said. `refused`: the app starts, but no line in it serves
            the scheduler and leaves everything else as it is. `failed`: it does not start with the scheduler in it.
        looked: What was started: `shop.main:app`.
        text: Why it is not verified.
        hint: What to do.
        taken: The scheduler's prefix, if the app has routes of its own there.
    """

    kind: Kind
    looked: str
    text: str = ""
    hint: str = ""
    taken: str = ""

    @property
    def is_verified(self) -> bool:
        """Whether a job ran and everything of the app's is as it was."""
        return self.kind == "verified"


@dataclass(frozen=True)
class Trial:
    """How an app is tried.

    Args:
        python: The project's interpreter.
        layout: How its modules are imported.
        entry: What its server loads.
        scheduler: The package with the scheduler: `shop.scheduler`.
        extra: More folders for Python's path.
        timeout: Seconds it may take to load, and as many to start.
    """

    python: Path
    layout: Layout
    entry: Entry
    scheduler: str
    extra: Sequence[Path] = ()
    timeout: float = TIMEOUT

    def before(self) -> dict[str, Any]:
        """What the app serves as it is: routes, OpenAPI and middleware; or `error`."""
        return self._ask({})

    def starts_without(self) -> str:
        """Why the app does not start without the scheduler either; empty when it does."""
        return str(self._ask({"start": True}).get("error", ""))

    def run(self, before: dict[str, Any] | None) -> Outcome:
        """Start the patched app, and compare it with what it was."""
        request = {"start": True, "scheduler": self.scheduler, "before": before}
        return judged(self.entry, self._ask(request))

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        entry = self.entry
        common = {
            "module": entry.module,
            "name": entry.name,
            "factory": entry.factory,
            "lifespan": entry.lifespan,
            "script": entry.script,
            "seconds": _JOB_SECONDS,
        }
        timeout = self.timeout * (2 if request else 1)
        return ask(self.python, self.layout, common | request, extra=self.extra, timeout=timeout)


def judged(entry: Entry, answer: dict[str, Any]) -> Outcome:
    """What the answer of a trial means."""
    looked = entry.shown
    if "error" in answer:
        text = f"{looked} does not work with the scheduler in it\n{_indented(answer['error'])}"
        return Outcome("failed", looked, text)
    if "unserved" in answer:
        return Outcome("refused", looked, f"{answer['unserved']}, so that no job would run")
    if problem := _changes(looked, answer):
        taken = answer["prefix"] if answer.get("hidden") else ""
        return Outcome("refused", looked, problem, taken=taken)
    return _pages(looked, answer)


def _changes(looked: str, answer: dict[str, Any]) -> str:
    """What of the app's own is not as it was."""
    if answer.get("shadowed"):
        return f"{looked} has a route that comes before the scheduler's and answers {_some(answer['shadowed'])}"
    if answer.get("hidden"):
        return f"{looked} answers {_some(answer['hidden'])} itself, and the scheduler would answer that first"
    if answer.get("routes"):
        return f"routes of {looked} would not be as before: {_some(answer['routes'])}"
    if answer.get("openapi"):
        return f"the OpenAPI of {looked} would not be as before: {_some(answer['openapi'])}"
    return f"the middleware of {looked} would not be as before" if answer.get("middleware") else ""


def _pages(looked: str, answer: dict[str, Any]) -> Outcome:
    page, prefix = answer["pages"], answer["prefix"]
    status, location = page["status"], page["location"]
    if status == 200 or (status in _REDIRECTS and prefix in location):  # noqa: PLR2004
        return Outcome("verified", looked)
    if status in _FORBIDDEN or status in _REDIRECTS:
        text = f"something of the app's own stands before the pages: GET {prefix} answers {status}"
        return Outcome("untried", looked, text, "Its jobs run. Look at the pages yourself.")
    reason = f"{status} {location}".strip()
    return Outcome("failed", looked, f"the pages of {looked} do not answer: GET {prefix}: {reason}")


def _some(found: list[str]) -> str:
    """The first few, which is as much as a line holds."""
    shown, more = ", ".join(found[:_SHOWN]), len(found) - _SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())
