"""Pages of runs and downloads of their files."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.search_language import Pattern, Search, SearchError, Term, joined, write
from ...core.states import RunState
from ...kernel import job_owner as owners
from ...kernel.jobs.definition import shown_arguments
from ...kernel.queries import chains, run_search, runs, system
from ...kernel.queries.chains import lineage
from ...kernel.queries.models import Attempt, Run
from ...kernel.queries.run_search import Facets, RunFilter, RunPage, list_runs
from ...scheduler import Scheduler
from ..file_transfer import download, find
from ..problems import Problem
from ..run_filter import looked_for
from . import run_log
from .common import Every, SchedulerOf, Viewer, id_of, query_of, reloading
from .page_route import PageRoute
from .panels import PageSubject, panels
from .rendering import is_refresh, render

# Pages of runs.

router = APIRouter(route_class=PageRoute, include_in_schema=False)
MOST = 2_000
"""Most characters of a search in an address."""


class RunQuery(BaseModel):
    """The query of the runs page: a search; what addresses of earlier releases say besides is put into it."""

    q: str = ""
    state: str = ""
    job: str = ""
    since: str = ""
    until: str = ""
    before: str = ""
    queue: str = ""
    cause: str = ""
    open: str = ""
    unindexed: str = ""

    @property
    def text(self) -> str:
        """Return the search, with the terms of parameters from earlier releases."""
        named = ("state", "job", "since", "until", "queue", "cause")
        terms = [write(name, getattr(self, name)) for name in named]
        return joined(self.q[:MOST], *terms, "is:open" if self.open else "")

    def wanted(self, scheduler: Scheduler) -> RunFilter:
        """Return the filter of runs for the search.

        Raises:
            SearchError: the search cannot be parsed.
        """
        wanted = looked_for(scheduler, self.text, before=id_of(self.before))
        return replace(wanted, indexed_only=not self.unindexed)

    def address(self, path: str, before: int | None = None) -> str:
        """Return the address of the same list, from its beginning or after the run ``before``."""
        given = {"q": self.text, "before": before, "unindexed": self.unindexed and "1"}
        return f"{path}?{urlencode({name: value for name, value in given.items() if value})}"


@router.get("/runs")
async def runs_page(
    request: Request,
    principal: Viewer,
    scheduler: SchedulerOf,
    asked: Annotated[RunQuery, Depends(query_of(RunQuery))],
) -> Response:
    """Runs, by a search."""
    path, error = request.url.path, None
    try:
        wanted = asked.wanted(scheduler)
    except SearchError as wrong:
        wanted, error = RunFilter(limit=0), wrong

    async def query(db: AsyncConnection) -> dict[str, Any]:
        page = await list_runs(db, wanted) if error is None else RunPage((), None)
        counted = error is None and not run_search.is_of_a_batch(wanted)
        counts = await run_search.facets(db, wanted) if counted else None  # a batch's page counts
        added = await panels("runs", db, PageSubject(scheduler, scheduler.clock.now()))
        if is_refresh(request):
            return {"page": page, "counts": counts, "words": [], "kept": (), **added}
        words, kept = await _words(db, scheduler), await run_search.of(db, principal.name)
        return {"page": page, "counts": counts, "words": words, "kept": kept, **added}

    context = await scheduler.read(query)
    counts: Facets | None = context.pop("counts")
    more = context["page"].next_before
    return render(
        request,
        "pages/runs.html",
        principal,
        wanted=wanted,
        error=error,
        search=asked.text,
        chips=[_chip(path, asked.text, term) for term in wanted.search.terms],
        facets=_facets(path, asked.text, wanted.search, counts) if counts else {},
        counted=run_search.COUNTED,
        bounded=counts is not None and sum(counts.job.values()) >= run_search.COUNTED,
        filtered=bool(asked.text),
        first_url=asked.address(path),
        next_url=asked.address(path, more) if more else "",
        whole_url=asked.model_copy(update={"unindexed": "1"}).address(path, id_of(asked.before)),
        **context,
    )


def _chip(path: str, text: str, term: Term) -> tuple[str, str]:
    """Return a search term as written, and the address of the search without this term."""
    return text[term.at : term.end], _listed(path, _cut(text, [term]))


@dataclass(frozen=True, slots=True)
class Choice:
    """A link that filters the runs by a value, or ends this filter.

    Args:
        value: State, queue or job.
        number: Number of runs, up to :data:`.run_search.COUNTED`.
        chosen: Whether the search names the value.
        address: The runs page with the value, or without the value if it is chosen.
    """

    value: str
    number: int
    chosen: bool
    address: str


_MOST_CHOICES = 12


def _facets(path: str, text: str, search: Search, counts: Facets) -> dict[str, list[Choice]]:
    """Return the filters of the page by key. A key with a single value and no chosen value has no filter."""
    shown = {}
    for key in ("state", "queue", "job"):
        numbers: dict[str, int] = getattr(counts, key)
        terms = [term for term in search.of(key) if not term.negated]
        chosen = {_value(value): 0 for term in terms for value in term.values}
        rest = _cut(text, list(search.of(key)))
        choices = [
            Choice(value, number, value in chosen, _listed(path, rest, "" if value in chosen else write(key, _typed(key, value))))
            for value, number in {**dict(list(numbers.items())[:_MOST_CHOICES]), **{value: numbers.get(value, 0) for value in chosen}}.items()
        ]  # fmt: skip
        if len(choices) > 1 or chosen:
            shown[key] = choices
    return shown


def _value(value: object) -> str:
    return value.text if isinstance(value, Pattern) else str(value)


def _typed(key: str, value: str) -> str:
    return RunState(value) if key == "state" else value


def _cut(text: str, terms: Sequence[Term]) -> str:
    """Return the search without some of its terms."""
    for term in sorted(terms, key=lambda term: term.at, reverse=True):
        text = joined(text[: term.at], text[term.end :])
    return text


def _listed(path: str, *terms: str) -> str:
    """Return the address of the list of runs for a search."""
    search = joined(*terms)
    return f"{path}?{urlencode({'q': search})}" if search else path


async def _words(db: AsyncConnection, scheduler: Scheduler) -> list[str]:
    """Return the completions of the search box."""
    jobs = sorted({*await system.known_jobs(db), *scheduler.definitions}, key=str.casefold)
    queues = sorted({job.queue for job in scheduler.definitions.values()})
    nodes = sorted({server.name for server in await system.read_servers(db)})
    arguments = {name for job in scheduler.definitions.values() if job.parameters is not None for name in job.parameters.model_fields if name not in job.signature.secrets}  # fmt: skip
    times = ("today", "yesterday", "1h", "24h", "7d")
    return [
        *(write("state", state) for state in RunState),
        *(write("job", name) for name in jobs),
        *(f"since:{time}" for time in times),
        *(write("queue", name) for name in queues),
        *(write("node", name) for name in nodes),
        *(f"arg.{name}:" for name in sorted(arguments)),
        *("took:>1m", "took:>1h", "is:open", "by:", "until:", "cause:", "run:", "batch:"),
    ]


@router.get("/runs/{run_id}")
async def run_page(
    request: Request,
    principal: Viewer,
    scheduler: SchedulerOf,
    run_id: int,
    every: Every = 0,
) -> Response:
    """One run."""
    now, definitions = scheduler.clock.now(), scheduler.definitions

    async def query(db: AsyncConnection) -> tuple[Run | None, dict[str, Any]]:
        run = await runs.get_run(db, run_id)
        if run is None:
            return None, {}
        job = definitions.get(run.job)
        return run, {
            "attempts": await runs.attempts_of_run(db, run),
            "log": (
                () if is_refresh(request) else await runs.log_lines(db, run_id, run_log.MOST_LINES)
            ),
            "steps": await runs.steps(db, run_id),
            "files": await runs.files(db, run_id),
            "parents": await chains.parents(db, run_id, job.after if job is not None else ()),
            "children": await chains.children(db, run_id),
            "line": await lineage(db, run),
            "owned": (await owners.load(db, [run.job])).get(run.job),
            **await panels("run", db, PageSubject(scheduler, now, run.job, run)),
        }

    run, details = await scheduler.read(query)
    if run is None:
        raise Problem(
            404, "No such run", f"There is no run {run_id}; old ones are removed in time."
        )
    attempts: tuple[Attempt, ...] = details["attempts"]
    page = render(
        request,
        "pages/run.html",
        principal,
        run=run,
        shown_arguments=shown_arguments(scheduler.definitions.get(run.job), run.arguments),
        failure=next((a for a in reversed(attempts) if not a.success), None),
        metadata=attempts[-1].metadata if attempts else {},
        log_html=await asyncio.to_thread(run_log.shown, details["log"]),
        most_lines=run_log.MOST_LINES,
        trace_url=scheduler.settings.trace_url.replace("{trace_id}", run.trace_id or ""),
        every=every,
        **details,
    )
    return reloading(page, 0 if run.final else every)


# Downloads of files from a run's page.


@router.get("/runs/{run_id}/files/{file_id}")
async def run_file(_: Viewer, scheduler: SchedulerOf, run_id: int, file_id: str) -> Response:
    """The content of a file."""
    _run, blob = await find(scheduler, run_id, file_id)
    return await download(scheduler, blob)
