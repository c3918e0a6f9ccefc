"""Job pages, and the form that runs a job."""

from __future__ import annotations

import enum
import json
import math
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Literal, TypeVar, get_args, get_origin

import pydantic
from fastapi import APIRouter, Request, Response
from pydantic.fields import FieldInfo
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.identity import Principal
from ...core.languages import marked
from ...core.search_language import only
from ...kernel.jobs.definition import JobDefinition
from ...kernel.jobs.files import File
from ...kernel.jobs.slot_changes import calendars_of, changes, moved_there
from ...kernel.queries import jobs as job_queries
from ...kernel.queries import limits, statistics, system
from ...kernel.queries import runs as run_queries
from ...kernel.queries.chains import Chain, chains
from ...kernel.queries.jobs import JobEntry, JobOverview, with_runs
from ...kernel.queries.limits import LimitKey
from ...kernel.queries.models import Attempt, Run
from ...kernel.queries.run_search import RunFilter, RunPage, list_runs
from ...kernel.queries.statistics import JobStats
from ...kernel.queries.upcoming import next_runs
from ...project import current
from ...scheduler import Scheduler
from ...schedules.zones import parse_zone
from ..problems import Problem
from .common import SchedulerOf, Viewer, find_job, id_of
from .page_route import PageRoute
from .panels import PageSubject, panels
from .rendering import render

# Form that runs a job: an input per argument, and parsing of the sent form.


@dataclass(frozen=True, slots=True)
class Field:
    """A form input.

    Args:
        name: Argument name.
        kind: ``text``, ``number``, ``checkbox``, ``date``, ``datetime-local``, ``password``, ``select``, ``textarea``, ``file`` or ``files``.
        value: Initial value as text; ``on`` checks a checkbox.
        required: True if the argument has no default.
        hint: Expected format.
        step: Number input step: ``1`` or ``any``.
        options: Select options.
    """

    name: str
    kind: str
    value: str
    required: bool
    hint: str
    step: str = ""
    options: tuple[str, ...] = ()


def fields(definition: JobDefinition, given: Mapping[str, str] | None = None) -> list[Field]:
    """Return the inputs for a job's arguments.

    Args:
        definition: Job definition.
        given: Values typed before, to show again.
    """
    if definition.parameters is None:
        return []
    return [
        _field(name, info, None if given is None else given.get(f"arg-{name}", ""), definition)
        for name, info in definition.parameters.model_fields.items()
    ]


def typed_of(definition: JobDefinition, arguments: Mapping[str, Any]) -> dict[str, str]:
    """Return a run's arguments as form values, without secrets and files."""
    shown = {name: value for name, value in arguments.items() if value is not None}
    return {
        f"arg-{name}": _shown(value)
        for name, value in shown.items()
        if name not in definition.signature.secrets and name not in file_names(definition)
    }


def file_names(definition: JobDefinition) -> frozenset[str]:
    """Return the arguments that are files; a form sends files as separate parts."""
    known = definition.parameters.model_fields if definition.parameters is not None else {}
    looks = {name: _look(_without_none(info.annotation)) for name, info in known.items()}
    return frozenset(name for name, look in looks.items() if look.kind in _FILES)


def _field(name: str, info: FieldInfo, given: str | None, definition: JobDefinition) -> Field:
    secret = name in definition.signature.secrets
    look = _Look("password", marked("secret")) if secret else _look(_without_none(info.annotation))
    changed = json.loads(definition.arguments_json)
    required = info.is_required() and name not in changed
    default = None if info.is_required() else info.get_default(call_default_factory=True)
    value = _shown(changed.get(name, default)) if given is None else given
    return Field(
        name=name,
        kind=look.kind,
        value="" if secret or look.kind in _FILES else value,
        required=required and look.kind != "checkbox",
        hint=(
            marked("secret; empty: the default") if secret and not info.is_required() else look.hint
        ),
        step=look.step,
        options=look.options,
    )


@dataclass(frozen=True, slots=True)
class _Look:
    """Input kind for a type, used to build a :class:`Field`."""

    kind: str
    hint: str = ""
    step: str = ""
    options: tuple[str, ...] = ()


_SIMPLE: dict[Any, _Look] = {
    bool: _Look("checkbox"),
    int: _Look("number", marked("whole number"), "1"),
    float: _Look("number", marked("number"), "any"),
    date: _Look("date"),
    datetime: _Look("datetime-local"),
    str: _Look("text", marked("text")),
    dict: _Look("textarea", "JSON"),
    list: _Look("textarea", marked("one value per line")),
    Any: _Look("textarea", "JSON"),
    File: _Look("file", marked("a file")),
}
_MANY_FILES = _Look("files", marked("one or more files"))
_FILES = {"file", "files"}


def _look(kind: Any) -> _Look:
    """Return the input kind for a type."""
    if options := _options(kind):
        return _Look("select", options=options)
    if get_origin(kind) in {list, set, frozenset, tuple}:
        return _MANY_FILES if get_args(kind)[:1] == (File,) else _SIMPLE[list]
    if get_origin(kind) is dict or (
        isinstance(kind, type) and issubclass(kind, pydantic.BaseModel)
    ):
        return _SIMPLE[dict]
    return _SIMPLE.get(kind, _Look("text", getattr(kind, "__name__", str(kind)).lower()))


def _options(kind: Any) -> tuple[str, ...]:
    """Return the options in a ``Literal`` or an enum; empty for different types."""
    if get_origin(kind) is Literal:
        return tuple(str(value) for value in get_args(kind))
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return tuple(str(member.value) for member in kind)
    return ()


def _without_none(annotation: Any) -> Any:
    """Strip ``Annotated`` and an optional ``None`` from a type."""
    if get_origin(annotation) is typing.Annotated:
        return _without_none(get_args(annotation)[0])
    if get_origin(annotation) in {typing.Union, types.UnionType}:
        rest = [member for member in get_args(annotation) if member is not type(None)]
        return _without_none(rest[0]) if len(rest) == 1 else annotation
    return annotation


def _shown(value: Any) -> str:
    """Format a value as an input shows the value."""
    match value:
        case None | False:
            text = ""
        case True:
            text = "on"
        case enum.Enum():
            text = str(value.value)
        case datetime():
            text = value.replace(tzinfo=None).isoformat(timespec="minutes")
        case list() | tuple() | set() | frozenset():
            text = "\n".join(map(_shown, value))
        case dict():
            text = json.dumps(value, ensure_ascii=False, default=str)
        case pydantic.BaseModel():
            text = value.model_dump_json()
        case _:
            text = str(value)
    return text


def values(definition: JobDefinition, form: Mapping[str, str]) -> dict[str, Any]:
    """Parse a form into arguments, without files. An empty input counts as not given, so that the job's default applies.

    Raises:
        ValueError: a JSON input holds invalid JSON.
    """
    arguments: dict[str, Any] = {}
    for field in fields(definition):
        if field.kind in _FILES:
            continue
        text = form.get(f"arg-{field.name}", "")
        if field.kind == "checkbox":
            arguments[field.name] = bool(text)
        elif text.strip() == "" and not (field.required and field.kind == "text"):
            continue
        elif field.kind == "textarea":
            arguments[field.name] = _many(field, text)
        elif field.kind == "select":
            arguments[field.name] = _chosen(definition, field.name, text)
        else:
            arguments[field.name] = text
    return arguments


def _chosen(definition: JobDefinition, name: str, text: str) -> Any:
    """Return the ``Literal`` value with this text. Return any other text unchanged, since pydantic parses enum members."""
    assert definition.parameters is not None
    kind = _without_none(definition.parameters.model_fields[name].annotation)
    known = {str(value): value for value in get_args(kind)}
    return known.get(text, text)


def _many(field: Field, text: str) -> Any:
    if field.hint != "JSON":
        return [line.strip() for line in text.splitlines() if line.strip()]
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{field.name}: not JSON: {error.msg} at line {error.lineno}") from None
    except (ValueError, RecursionError):  # thousands of digits or nested brackets
        raise ValueError(f"{field.name}: not JSON that can be read") from None


# Job pages.

router = APIRouter(route_class=PageRoute, include_in_schema=False)
_RUNS_OF_JOB, _DAYS, _KEYS = 20, 30, 5


@dataclass(frozen=True, slots=True, kw_only=True)
class JobsPage:
    """A page of the list of jobs.

    Args:
        groups: The jobs of the page by chain; the last group has no chain.
        number: The number of the page, from 1.
        pages: The number of pages.
        matching: The number of jobs on all pages.
    """

    groups: list[tuple[Chain | None, list[JobOverview]]]
    number: int
    pages: int
    matching: int

    @property
    def first(self) -> int:
        """Return the place of the page's first job, from 1."""
        return (self.number - 1) * MOST_JOBS + 1

    @property
    def last(self) -> int:
        """Return the place of the page's last job."""
        return min(self.number * MOST_JOBS, self.matching)


MOST_JOBS = 100
"""Limit of jobs on a page of the list."""


@router.get("/jobs")
async def jobs_page(
    request: Request,
    principal: Viewer,
    scheduler: SchedulerOf,
    *,
    q: str = "",
    show: str = "",
    page: str = "",
) -> Response:
    """The jobs, a hundred on a page. Recent runs are read of the page's jobs; a filter by outcome reads the newest run of each job."""
    now = scheduler.clock.now()
    definitions = scheduler.definitions.values()

    async def query(db: AsyncConnection) -> JobsPage:
        every = (await job_queries.job_entries(db, definitions, now)).jobs
        entries = tuple(job for job in every if _mentions(job, q) and _is_shown(job, show))
        if show == "failing":
            failing = await job_queries.failing_jobs(db, [job.name for job in entries], now)
            entries = tuple(job for job in entries if job.name in failing)
        elif show == "running":
            active = await run_queries.active_jobs(db)
            entries = tuple(job for job in entries if job.name in active)
        chained = await chains(db, definitions)
        ordered = [job for _, group in _grouped(entries, chained) for job in group]
        pages = max(1, math.ceil(len(ordered) / MOST_JOBS))
        number = min(max(id_of(page) or 1, 1), pages)
        part = ordered[(number - 1) * MOST_JOBS : number * MOST_JOBS]
        return JobsPage(
            groups=_grouped(await with_runs(db, part), chained),
            number=number,
            pages=pages,
            matching=len(ordered),
        )

    return render(
        request,
        "pages/jobs.html",
        principal,
        page=await scheduler.read(query),
        total=len(definitions),
        q=q,
        show=show,
    )


J = TypeVar("J", bound=JobEntry)


def _grouped(jobs: Iterable[J], chained: Iterable[Chain]) -> list[tuple[Chain | None, list[J]]]:
    """Group jobs by chain, in the chain's order; jobs without a chain come last."""
    rest = {job.name: job for job in jobs}
    groups: list[tuple[Chain | None, list[J]]] = [
        (chain, [rest.pop(name) for name in chain.jobs if name in rest]) for chain in chained
    ]
    groups.append((None, list(rest.values())))
    return [(chain, group) for chain, group in groups if group]


def _mentions(job: JobEntry, text: str) -> bool:
    definition = job.definition
    where = f"{definition.name}\n{definition.display_name}\n{definition.description}".casefold()
    return text.strip().casefold() in where


_SHOWN: dict[str, Callable[[JobEntry], bool]] = {
    "paused": lambda job: job.pause is not None,
    "elsewhere": lambda job: job.elsewhere is not None,
    "changed": lambda job: bool(job.definition.overrides),
    "scheduled": lambda job: job.definition.schedule is not None,
    "manual": lambda job: job.definition.schedule is None,
}
"""Jobs page filters by name, beside ``failing`` and ``running``; an unknown name shows all jobs."""


def _is_shown(job: JobEntry, show: str) -> bool:
    return show not in _SHOWN or _SHOWN[show](job)


@router.get("/jobs/{name}")
async def job_page(
    request: Request,
    principal: Viewer,
    scheduler: SchedulerOf,
    name: str,
    like: int | None = None,
) -> Response:
    """One job; the form that runs it is filled in as the run ``like`` was."""
    if like is None:
        return await show_job(request, principal, scheduler, name)
    definition, _ = find_job(scheduler, name)
    typed, error = None, ""
    if definition is not None:
        try:
            arguments = await scheduler.arguments_of(definition, like)
            typed = typed_of(definition, arguments) | {"like": str(like)}
        except (LookupError, ValueError) as problem:
            error = f"Run {like} cannot be taken as a pattern: {problem}"
    return await show_job(request, principal, scheduler, name, typed=typed, error=error)


async def show_job(
    request: Request,
    principal: Principal,
    scheduler: Scheduler,
    name: str,
    *,
    typed: Mapping[str, str] | None = None,
    error: str = "",
) -> Response:
    """Render a job's page, with values typed before and their error.

    Raises:
        Problem: no job with this name exists, and neither a run nor an attempt is stored.
    """
    definition, key = find_job(scheduler, name)
    now = scheduler.clock.now()
    zone = parse_zone(definition.timezone if definition else current().timezone)

    async def query(
        db: AsyncConnection,
    ) -> tuple[
        JobOverview | None,
        dict[int, Run],
        JobStats,
        RunPage,
        tuple[Attempt, ...],
        tuple[Chain, ...],
        list[LimitKey] | None,
        dict[str, Any],
    ]:
        jobs = await job_queries.job_overviews(db, [definition] if definition else [], now)
        shown = {run.id for job in jobs for run in (*job.active, *job.outcomes[:1])}
        whole = await run_queries.get_runs(db, shown)
        figures = await statistics.job_stats(
            db, key, since=now - timedelta(days=_DAYS - 1), until=now, zone=zone
        )
        runs = await list_runs(db, RunFilter(search=only(job=key), limit=_RUNS_OF_JOB))
        earlier = await _earlier(db, key, runs)
        chained = await chains(db, scheduler.definitions.values(), of=key)
        limited = definition is not None and definition.keyed_limit is not None
        busiest = (
            await limits.busiest(db, key, scheduler.definitions, now, most=_KEYS)
            if limited
            else None
        )
        added = await panels("job", db, PageSubject(scheduler, now, key))
        return (jobs[0] if jobs else None), whole, figures, runs, earlier, chained, busiest, added

    job, whole, figures, runs, earlier, chained, busiest, added = await scheduler.read(query)
    if job is None and not runs.runs and not earlier:
        broken = scheduler.broken_file_of(key)
        if broken is not None:
            file = broken.path or broken.module
            raise Problem(404, "No such job", f"Its file {file} cannot be imported: {broken.error}")
        raise Problem(404, "No such job", f"There is no job {name}, and no run of one.")
    slots = _slots(job) if job is not None else []
    return render(
        request,
        "pages/job.html",
        principal,
        422 if error else 200,
        name=key,
        job=job,
        active=[whole[run.id] for run in job.active if run.id in whole] if job is not None else [],
        last=whole.get(job.last.id) if job is not None and job.last is not None else None,
        stats=figures,
        runs=runs,
        earlier=earlier,
        chain=next(iter(chained), None),
        busiest=busiest,
        slots=slots,
        skipped=_skipped(job, slots, now) if job is not None else [],
        calendars=calendars_of(definition) if definition is not None else (),
        fields=fields(definition, typed) if definition else [],
        queues=system.queue_names(scheduler.definitions.values()),
        error=error,
        like=id_of((typed or {}).get("like", "")),
        **added,
    )


def _slots(job: JobOverview) -> list[tuple[datetime, str]]:
    """Return the next five slots, each with a note if a calendar moved the slot."""
    return [(slot, moved_there(job.definition, slot)) for slot in next_runs(job, 5)]


def _skipped(job: JobOverview, slots: list[tuple[datetime, str]], now: datetime) -> list[str]:
    """Describe the slots that calendars skip, up to the last of the next slots."""
    every = changes(job.definition, [slot for slot, _ in slots], now)
    return [change.text for change in every if change.at is None]


async def _earlier(db: AsyncConnection, job: str, runs: RunPage) -> tuple[Attempt, ...]:
    """Return attempts without a stored run: the run was pruned, or the attempt was imported from TARGCC.

    Returns:
        At most 20 attempts; empty if ``runs`` has a next page.
    """
    if runs.next_before is not None:
        return ()
    kept = {str(run.id) for run in runs.runs}
    attempts = await system.history(db, job, limit=100)
    return tuple(attempt for attempt in attempts if attempt.run_id not in kept)[:_RUNS_OF_JOB]
