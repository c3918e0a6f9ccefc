"""The options with which a job is declared."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TypedDict

from ...schedules import OnHoliday
from ..definition import Alerts, Backoff, Isolation, Misfire, Overlap
from ..following.chains import AfterRun, Named
from .limits import LimitOptions
from .unique import UniqueBy


class RecurringOptions(TypedDict, total=False):
    """The options of ``Scheduler.add_recurring`` besides name, function, schedule and zone.

    Durations are texts such as ``90s``, ``15m``, ``1h30m`` or ``2d``, or ``timedelta``.
    """

    every: str | timedelta | None
    """An interval, instead of a cron expression."""
    anchor: str | datetime | None
    """With ``every``: when it runs first; the intervals are counted from there. An interval of whole days keeps its time of the clock."""
    after: AfterRun | Sequence[Named] | None
    """Jobs that it follows, as ``[ImportOrders]`` or by name: each run of theirs that is created brings one of its own, which waits for its success.
    With ``every``, ``"completion"`` or ``"start"``: count from the end or the start of the last run."""
    at: str | datetime | None
    """One instant, instead of a cron expression: it runs once."""
    display_name: str | None
    """Default: the name, in words."""
    description: str | None
    """Default: the first line of the docstring."""
    queue: str | None
    """Default: the project's default queue."""
    priority: int
    """Higher goes first within a queue."""
    retries: int | None
    """How many times a failure is tried again. Default: the project's."""
    backoff: Backoff | None
    """The wait before the first retry; it doubles each time. Or a function ``(run, error)``, or an object with ``next_attempt(run, error)``, that
    returns the wait before each retry; see :class:`~..definition.FailedRun`. Default: the project's."""
    timeout: str | timedelta | None
    """How long an attempt may take, or ``"none"``. Default: the project's."""
    overlap: Overlap | None
    """``skip`` (default of recurring jobs): a slot that comes while the job is busy is recorded as skipped. ``queue``: it
    waits. ``allow`` (default of all others): runs may overlap."""
    misfire: Misfire
    """What to do with slots that passed while no node was up. ``run_once`` (default): run the newest, record the others as
    missed. ``run_all``: run each. ``skip``: a slot over a minute late is missed."""
    misfire_grace: str | timedelta
    """A slot older than this is missed under any policy; ``"none"`` is no limit. Default: a day."""
    concurrency: int | None
    """How many runs may run at once, on all nodes together."""
    isolation: Isolation | None
    """``thread``: it runs in this process; a plain job that does not stop when it is told keeps its place until it ends. ``process``: it runs in
    a process of its own: it can be stopped whatever it does, and a crash costs this run alone. Default: what its queue says, else ``thread``."""
    memory_limit: int | None
    """MiB of resident memory of a run in a process of its own, which this implies; one that uses more is ended and has failed."""
    alerts: Alerts | None
    """Who gets alerts, and when."""
    paused: bool
    """Whether it is created paused, until somebody resumes it."""
    calendar: str | tuple[str, ...] | None
    """Calendars of the project, by name: nothing of it starts by itself while one of them, or one of its queue's, is closed."""
    on_holiday: OnHoliday | None
    """What becomes of a slot there. ``skip``: it is left out. ``next``, ``previous``: it comes at the same time on the nearest working
    day. Default: what its queue says, else ``skip``."""
    unique: UniqueBy | None
    """The argument, or a tuple of them, by which a run is unique; ``True``: by all of them. Or a function that gets them by name and returns
    what the run is unique by; ``None``: nothing."""
    unique_scope: str | timedelta | None
    """With ``unique``: until when another run is a duplicate. ``queued``: until the first starts. ``running`` (default of ``skip``): until it is
    over. A duration such as ``1h``: until then, and for so long after it succeeded."""
    on_duplicate: str | None
    """With ``unique``: ``skip`` (default): the first run stands for both. ``replace``: if it has not begun, it gets the arguments of the second.
    ``debounce 30s``: so too, and it starts when none has come for so long. ``throttle 1m``: so too, and runs start so far apart at least."""
    expires_in: str | timedelta | None
    """A run that has not begun so long after it was due is cancelled instead of starting late. Default: none expires."""
    limit: LimitOptions | None
    """How many runs may be under way at once, and how many may start in a while, by key: ``{"key": "tenant_id", "running": 2, "rate": "100/min"}``.
    A run that waits for room holds no worker. Default: no limit."""
    must_finish_by: str | None
    """A time of the day in the job's zone, such as ``"06:00"``: people are told if its last slot before has not succeeded by then."""
    must_start_within: str | timedelta | None
    """People are told of a run that has waited longer than this for its worker, and of a slot that nobody has begun."""
    at_least: str | None
    """Such as ``"1 success in 26h"``: people are told when there were fewer."""
    ping: str | None
    """An address that is fetched after each run that succeeds, such as that of a dead-man's switch, or ``${NAME}`` of a variable with it."""


class Expected(TypedDict, total=False):
    """Those of the options that say what people rely on."""

    must_finish_by: str | None
    must_start_within: str | timedelta | None
    at_least: str | None
    ping: str | None


class JobOptions(RecurringOptions, total=False):
    """The options of :func:`job` and :func:`define` besides the schedule."""

    name: str | None
    """The stable key, when the class was renamed. Default: the class name without ``Job``."""
    timezone: str | None
    """The zone the schedule is read in. Default: the project's."""
    aliases: tuple[str, ...]
    """Names that the job had before: its history, pause and schedule go on under the new one. Drop them once every database has been
    used with the new name, and no code asks for an old one."""
    left_spec: bool
    """Written by ``targcc-gen regenerate``: targcc.yaml had this job and has it no more, so people are shown that it runs."""
