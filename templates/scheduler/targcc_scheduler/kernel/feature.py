"""Extension points: what a feature adds to the life of a run, to a node, to the web app and to the command line.

A feature is a folder with a manifest, the module ``feature.py``, whose ``FEATURE`` lists the parts of the feature. The built-in features are
named in :data:`targcc_scheduler.features.FEATURES`; a project adds its own with ``Project(features=…)``. A part names the object that does
the work as text, ``"module:name"``, so that reading all manifests imports no part.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

from ..project import features

if TYPE_CHECKING:

    from sqlalchemy.ext.asyncio import AsyncConnection

    from ..db.transactions import Store
    from .jobs.registry import JobRegistry
    from .queries.models import Attempt
    from .runs.values import Effects, NewRun, RunId, Settlement

P = TypeVar("P", bound="Part")
ROOT = __package__.partition(".")[0]
"""Import name of the scheduler."""


@dataclass(frozen=True, slots=True)
class Part:
    """Something that a feature adds.

    Args:
        ref: The object, ``"module:name"`` below the folder of the feature.
    """

    ref: str


@dataclass(frozen=True, slots=True)
class AfterSettle(Part):
    """An object with the functions of :class:`Follower`; the object is usually the module ``"effects:"`` itself."""


@dataclass(frozen=True, slots=True)
class ClaimCondition(Part):
    """An SQLAlchemy condition on ``job_run`` that a run must fulfil to be claimed, such as ``job_run.c.JobName != "Frozen"``.

    Each claim statement contains the condition, so the condition must be cheap. The condition has constants and no parameters, and is true or false, not ``NULL``.
    """


@dataclass(frozen=True, slots=True)
class Jobs(Part):
    """A function that takes the :class:`Project` and yields the jobs that targcc.yaml declares beside the job files.

    The function yields pairs: a name for messages, and a declaration or an error.
    """


@dataclass(frozen=True, slots=True)
class JobCheck(Part):
    """A function ``(jobs, settings)`` that yields a :class:`~.jobs.checks.JobFinding` for each job whose options of the feature cannot work."""


@dataclass(frozen=True, slots=True)
class Change(Part):
    """A scalar subquery whose value differs after each change of a subject, or a condition; part of the one statement of a poll.

    Args:
        name: Key of the value in :attr:`~.changes.PollResult.marks`.
    """

    name: str


@dataclass(frozen=True, slots=True)
class Loop(Part):
    """A background task of a node: a function of :class:`~.node.loops.NodeContext` that returns a :class:`Background`.

    The function may return ``None`` for no task.

    Args:
        name: Name of the task, after ``targcc``.
        tasks: Number of tasks that run the object at the same time; several tasks are numbered.
    """

    name: str
    tasks: int = 1


@dataclass(frozen=True, slots=True)
class OnRetry(Part):
    """A coroutine function ``(connection, settlements, now)``, called with attempts that will be retried, in the transaction that settles them."""


@dataclass(frozen=True, slots=True)
class JobChanges(Part):
    """A function ``(registry, clock)`` that returns a :class:`JobChanger`."""


@dataclass(frozen=True, slots=True)
class ExternalJobs(Part):
    """A function ``(settings, clock)`` that returns a :class:`JobFollower`, or ``None`` where the settings name no source of jobs."""


@dataclass(frozen=True, slots=True)
class AtRerun(Part):
    """An object with the functions of :class:`Rejoining`; the object is usually the module ``"effects:"`` itself."""


@dataclass(frozen=True, slots=True)
class Needed(Part):
    """An SQLAlchemy condition on ``job_run``: retention keeps matching runs and their history at any age."""


@dataclass(frozen=True, slots=True)
class Retention(Part):
    """A coroutine function ``(connection, before, now, most) -> int`` that removes old rows of the feature once a day.

    The function removes up to ``most`` rows that ended before the instant ``before``, or by an age of the feature's own, and returns their
    number. Until the number is 0, the function is called again, each time in a transaction of its own.
    """


@dataclass(frozen=True, slots=True)
class OwnedTable(Part):
    """An SQLAlchemy table of the feature. ``targcc migrate`` creates the table, and adds columns that later releases of the feature declare.

    A column that is added later may be empty. The table has a ``MetaData`` of its own. ``info={"job": "job_name"}`` of the table names the
    column with the name of a job: people whose role is for some jobs then see the rows of these jobs. Without it they see no rows.
    """


@dataclass(frozen=True, slots=True)
class WhyNot(Part):
    """A coroutine function ``(connection, job, run, now)`` that returns sentences which explain why a job or run does not run.

    The function gets the name of the job, and the :class:`~.queries.models.Run` or ``None`` for the job itself.

    Args:
        first: Whether the sentences come before all other reasons, because the feature keeps the run from starting.
    """

    first: bool = False


@dataclass(frozen=True, slots=True)
class Routes(Part):
    """An ``APIRouter`` of the REST API.

    Args:
        paths: Beginnings of the router's paths after ``/api/``, such as ``overrides`` and ``jobs/*/overrides``. A command that calls one
            of these paths in its own process imports this router only. Default: commands look here after all other routers.
    """

    paths: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NavItem:
    """A link in the navigation of every page.

    Args:
        path: Path of the page below the dashboard, such as ``/inbox``.
        key: Name of the section, which the page's template sets as ``section``.
        label: Text of the link in English.
        after: Key of the link before it. Default: at the end.
        limited: Whether people whose role is for some jobs see the link.
        needs: Role that a person must have for all jobs to see the link. Default: every person sees the link.
        shortcut: Letter that opens the page after ``g``. Default: no shortcut.
    """

    path: str
    key: str
    label: str
    after: str = ""
    limited: bool = False
    shortcut: str = ""
    needs: str = ""


@dataclass(frozen=True, slots=True)
class Pages(Part):
    """An ``APIRouter`` of the dashboard.

    Args:
        sign_in: Whether the pages sign people in. An app whose host identifies people leaves such pages out.
        nav: The link of the pages in the navigation.
    """

    sign_in: bool = False
    nav: NavItem | None = None


@dataclass(frozen=True, slots=True)
class Panel(Part):
    """A coroutine function ``(connection, page)`` that returns values for the template of a page; ``page`` is a :class:`PageSubject`.

    Args:
        page: ``job``, ``run``, ``runs``, ``overview`` or ``system``.
        template: A template to show at the end of the page, ``"name.html"`` in the feature's folder ``templates``. Default: the page's own
            template shows the values.
    """

    page: Literal["job", "run", "runs", "overview", "system"]
    template: str = ""


@dataclass(frozen=True, slots=True)
class Metrics(Part):
    """A coroutine function ``(connection, jobs, now)`` that returns metric families for Prometheus."""


@dataclass(frozen=True, slots=True)
class Identify(Part):
    """A function of the scheduler that returns an :class:`~..core.identity.IdentityProvider`.

    Args:
        programs: Whether the provider identifies programs. An app whose host identifies people asks for programs only.
        beside_host: Whether the provider identifies people of the host, and only an app whose host identifies people asks the provider.
    """

    programs: bool = False
    beside_host: bool = False


@dataclass(frozen=True, slots=True)
class FirstLogin(Part):
    """A coroutine function of the connection that returns a function of the dashboard's address, which makes a link for the first person to sign in.

    Returns ``None`` if people can sign in without such a link.
    """


@dataclass(frozen=True, slots=True)
class Grants(Part):
    """A coroutine function ``(connection, role)`` that returns the grants of a custom role, none of an unknown role."""


@dataclass(frozen=True, slots=True)
class Commands(Part):
    """A command, or a group of commands, of ``targcc``.

    Args:
        name: Name of the command; with the name of a kernel's group before it, such as ``job trend``, a command of that group.
        after: Name of the command before it in the help. Default: at the end.
    """

    name: str
    after: str = ""


class Follower(Protocol):
    """Applies the effects of runs that settled or were removed. Runs without ties, see :class:`~.runs.values.Tie`, are left out."""

    async def on_settled(
        self, connection: AsyncConnection, settled: Sequence[Settlement], now: datetime
    ) -> Effects:
        """Apply the effects of settlements, in the transaction that wrote them."""

    async def removed(
        self, connection: AsyncConnection, rows: Sequence[Any], now: datetime
    ) -> Effects:
        """Apply the effects of removed runs; ``rows`` are their rows as they were."""

    async def any_missed(self, connection: AsyncConnection) -> bool:
        """Return whether :meth:`sweep` finds work. This may read all waiting runs, and locks nothing."""

    async def sweep(self, connection: AsyncConnection, now: datetime) -> Effects:
        """Apply some of the effects that no settlement applied."""


class JobChanger(Protocol):
    """Changes the jobs of a process by rows of the database, such as options that people set."""

    changed: Callable[[], None]
    """Called after jobs have changed."""

    async def run(self, store: Store, *, ends: Callable[[], bool]) -> None:
        """Follow the rows until cancelled; while ``ends`` returns true, also remove expired rows."""

    async def look(self, store: Store, *, ends: bool) -> None:
        """Read the rows now; with ``ends``, also remove expired rows."""

    async def look_again(self, store: Store) -> None:
        """Read the rows if they were not read lately, in a process without :meth:`run`."""

    async def is_up_to_date(self, connection: AsyncConnection) -> bool:
        """Return whether the rows are unchanged since they were read."""


class JobFollower(Protocol):
    """Follows jobs that are declared outside the code."""

    def fill(self, registry: JobRegistry) -> None:
        """Add the jobs to the registry."""

    async def follow(
        self,
        registry: JobRegistry,
        changed: Callable[[set[str]], Awaitable[None]],
        ask: Callable[[Mapping[str, datetime]], Awaitable[None]],
        ended: Callable[[Collection[str], datetime], Awaitable[Sequence[Attempt]]],
    ) -> None:
        """Read the jobs again and again, until cancelled.

        Args:
            registry: Receives the jobs.
            changed: Called after the jobs have changed, with the names of the removed and inactive jobs.
            ask: Called with requests to run jobs.
            ended: Returns the ended attempts of jobs that began since an instant, oldest first.
        """

    def close(self) -> None:
        """Close the connections."""


class Rejoining(Protocol):
    """Gives reruns the places of their old runs."""

    async def rejoin(self, connection: AsyncConnection, runs: Sequence[NewRun]) -> list[NewRun]:
        """Return the reruns with the places of the runs that they replace. The reruns are inserted afterwards, in the same transaction."""

    async def stood_for(
        self,
        connection: AsyncConnection,
        runs: Sequence[NewRun],
        ids: Sequence[RunId],
        now: datetime,
    ) -> Effects:
        """Apply the effects of reruns that were not inserted, since an existing run stands for each; ``ids`` are in the order of ``runs``."""


class Background(Protocol):
    """A task of a node. The node stops when :meth:`run` has returned, or a second after :meth:`end`."""

    async def run(self) -> None:
        """Work until :meth:`end`. A fault is logged, and the task is started again."""

    def end(self) -> None:
        """Let :meth:`run` return after its current step."""


class Feature:
    """The manifest of a feature.

    Args:
        module: The manifest's ``__name__``; its folder is the feature's.
        needs: Names of the features that this feature imports.
        parts: What the feature adds, in this order.
    """

    def __init__(self, module: str, *, needs: Sequence[str] = (), parts: Sequence[Part]) -> None:
        self.package = module.rpartition(".")[0]
        self.name = self.package.rpartition(".")[2]
        self.needs = tuple(needs)
        self.parts = tuple(parts)

    @property
    def is_built_in(self) -> bool:
        """Return whether the feature comes with the scheduler."""
        return self.package.startswith(f"{ROOT}.")

    @property
    def folder(self) -> Path:
        """Return the folder of the feature."""
        return Path(str(import_module(f"{self.package}.feature").__file__)).parent

    def load(self, part: Part) -> Any:
        """Import the object of a part."""
        module, _, name = part.ref.partition(":")
        loaded = import_module(f"{self.package}.{module}")
        return getattr(loaded, name) if name else loaded

    def __repr__(self) -> str:
        return f"Feature({self.name!r})"


def installed() -> tuple[Feature, ...]:
    """Return the manifests of the built-in features and of the project's features, in this order.

    Raises:
        LookupError: A feature needs another feature, which is not installed.
    """
    return _installed(features())


@cache
def _installed(own: tuple[str, ...]) -> tuple[Feature, ...]:
    built_in = import_module(f"{ROOT}.features")
    names = [*(f"{ROOT}.features.{name}" for name in built_in.FEATURES), *own]
    manifests = tuple(import_module(f"{name}.feature").FEATURE for name in names)
    known = {manifest.name for manifest in manifests}
    for manifest in manifests:
        if missing := [name for name in manifest.needs if name not in known]:
            raise LookupError(
                f"the feature {manifest.name} needs {' and '.join(missing)}, which is not installed"
            )
    return manifests


def is_installed(name: str) -> bool:
    """Return whether a feature is installed."""
    return any(feature.name == name for feature in installed())


def left_out() -> tuple[Feature, ...]:
    """Return the manifests of the built-in features that are not installed."""
    built_in = import_module(f"{ROOT}.features")
    names = [module.name for module in iter_modules(built_in.__path__) if module.ispkg]
    return tuple(
        import_module(f"{built_in.__name__}.{name}.feature").FEATURE
        for name in names
        if not is_installed(name)
    )


def parts(kind: type[P]) -> tuple[tuple[Feature, P], ...]:
    """Return the parts of a kind, each with its feature, without importing their objects."""
    return tuple(
        (feature, part)
        for feature in installed()
        for part in feature.parts
        if isinstance(part, kind)
    )


def load(kind: type[Part]) -> tuple[Any, ...]:
    """Import the objects of all parts of a kind. A repeated call costs nothing."""
    return _load(kind, features())  # type: ignore[arg-type]  # a class is hashable


@cache
def _load(kind: type[Part], _own: tuple[str, ...]) -> tuple[Any, ...]:
    return tuple(feature.load(part) for feature, part in parts(kind))
