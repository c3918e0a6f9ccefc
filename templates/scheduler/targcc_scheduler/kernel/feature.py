"""Extension points: what a feature adds to the life of a run, to a node, to the web app and to the command line.

A feature is a folder with a manifest, the module ``feature.py``, whose ``FEATURE`` lists the parts of the feature. The built-in features are
named in :data:`targcc_scheduler.features.FEATURES`; a project adds its own with ``Project(features=…)``. A part names the object that does
the work as text, ``"module:name"``, so that reading all manifests imports no part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

if TYPE_CHECKING:

    from sqlalchemy.ext.asyncio import AsyncConnection

    from .effects import Effects
    from .runs.values import Settlement

P = TypeVar("P", bound="Part")


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

    Each claim statement contains the condition, so the condition must be cheap. The condition's values are constants, and its result is never ``NULL``.
    """


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

    Args:
        name: Name of the task, after ``targcc``.
    """

    name: str


@dataclass(frozen=True, slots=True)
class Retention(Part):
    """A coroutine function ``(connection, before, now)`` that removes old rows of a small table once a day."""


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
    """

    path: str
    key: str
    label: str
    after: str = ""
    limited: bool = False


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
    """

    programs: bool = False


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
    """Applies the effects of runs that settled or were removed."""

    async def on_settled(
        self, connection: AsyncConnection, settled: Sequence[Settlement], now: datetime
    ) -> Effects:
        """Apply the effects of settlements, in the transaction that wrote them."""

    async def removed(
        self, connection: AsyncConnection, rows: Sequence[Any], now: datetime
    ) -> Effects:
        """Apply the effects of removed runs; ``rows`` are their rows as they were."""

    async def sweep(self, connection: AsyncConnection, now: datetime) -> Effects:
        """Apply effects that no settlement applied."""

    async def any_goes_on(self, connection: AsyncConnection) -> bool:
        """Return whether :meth:`sweep` may find work."""


class Background(Protocol):
    """A task of a node."""

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

    def load(self, part: Part) -> Any:
        """Import the object of a part."""
        module, _, name = part.ref.partition(":")
        loaded = import_module(f"{self.package}.{module}")
        return getattr(loaded, name) if name else loaded

    def __repr__(self) -> str:
        return f"Feature({self.name!r})"


@cache
def installed() -> tuple[Feature, ...]:
    """Return the manifests of the built-in features and of the project's features, in this order.

    Raises:
        LookupError: A feature needs another feature, which is not installed.
    """
    root = __package__.partition(".")[0]
    features = import_module(f"{root}.features")
    names = [f"{root}.features.{name}" for name in features.FEATURES]
    project = import_module(f"{root}.project")
    names += project.features()
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
    features = import_module(f"{__package__.partition('.')[0]}.features")
    names = [module.name for module in iter_modules(features.__path__) if module.ispkg]
    return tuple(
        import_module(f"{features.__name__}.{name}.feature").FEATURE
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


@cache
def load(kind: type[Part]) -> tuple[Any, ...]:
    """Import the objects of all parts of a kind. A repeated call costs nothing."""
    return tuple(feature.load(part) for feature, part in parts(kind))
