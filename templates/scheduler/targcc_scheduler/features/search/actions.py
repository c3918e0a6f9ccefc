"""What somebody searches for, in this project: job names as they are known here, days as they are counted here."""

from __future__ import annotations

from dataclasses import replace
from fnmatch import fnmatchcase

from ...kernel.queries.jobs import open_arguments
from ...project import current
from ...scheduler import Scheduler
from ...schedules.zones import parse_zone
from .language import Pattern, Search, SearchError, Value, parse
from .run_search import RunFilter

MOST_CONDITIONS = 100
"""Terms of a search, and patterns with a star in their lists; SQLite reads a thousand nested ones."""
_SHOWN = 2_000


def looked_for(
    scheduler: Scheduler, text: str, *, before: int | None = None, limit: int = 50
) -> RunFilter:
    """The runs that a search means.

    Args:
        scheduler: The project.
        text: The search.
        before: The id of the last run on the page before.
        limit: How many on a page.

    Raises:
        SearchError: it cannot be understood.
    """
    zone = parse_zone(current().timezone)
    asked = parse(text, now=scheduler.clock.now(), zone=zone)
    _check_size(asked, text)
    search = _with_known_jobs(asked, scheduler)
    return RunFilter(
        search=search,
        arguments_of=open_arguments(scheduler.definitions.values()),
        before=before,
        limit=limit,
    )


def _check_size(search: Search, text: str) -> None:
    """Refuse a search of more conditions than a statement can hold; lists of whole values, such as runs, are one condition."""
    conditions = 0
    for term in search.terms:
        patterns = [value for value in term.values if not _is_whole(value)]
        conditions += max(1, len(patterns))
        if conditions > MOST_CONDITIONS:
            raise SearchError(
                f"a search has at most {MOST_CONDITIONS} conditions: put words that stand together in quotation marks",
                text=text[:_SHOWN],
                at=min(term.at, _SHOWN),
            )


def _is_whole(value: Value) -> bool:
    return not isinstance(value, Pattern) or value.is_exact


def _with_known_jobs(search: Search, scheduler: Scheduler) -> Search:
    """With the keys of the jobs that are meant by another name, such as the one that is shown."""
    for term in list(search.of("job")):
        values = [
            one
            for value in term.values
            if isinstance(value, Pattern)
            for one in _known(value, scheduler)
        ]
        search = search.but(term, replace(term, values=tuple(dict.fromkeys(values))))
    return search


def _known(value: Pattern, scheduler: Scheduler) -> list[Pattern]:
    if not value.is_exact:
        wanted = value.text.lower().replace("[", "[[]")
        shown = [
            Pattern.exactly(job.name)
            for job in scheduler.definitions.values()
            if fnmatchcase(job.display_name.lower(), wanted)
            and not fnmatchcase(job.name.lower(), wanted)
        ]
        return [value, *shown]
    key = scheduler.key_of(value.text)
    if key not in scheduler.definitions:
        for job in scheduler.definitions.values():
            if job.display_name.lower() == value.text.lower():
                key = job.name
    return [Pattern.exactly(key)]
