"""Standard services for jobs, and the container of a project's ``services.py``."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from dishka import Provider, Scope, provide

from ..project import current
from ..settings import Settings
from .cursors import Cursors
from .database import Database
from .mailer import Mailer
from .settings import ServiceSettings

if TYPE_CHECKING:
    import dishka


# The standard services.


class StandardServices(Provider):
    """The standard services, one method each; a job's constructor names the return type.

    ``httpx.AsyncClient`` is provided only when a job or ``services.py`` has imported httpx, since httpx takes 6 MiB in every process.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "httpx" in sys.modules:
            self._offer_http()

    @provide(scope=Scope.APP)
    def settings(self) -> Settings:
        """The scheduler's settings, from ``TARGCC_…``."""
        return Settings()

    @provide(scope=Scope.APP)
    def service_settings(self) -> ServiceSettings:
        """The settings of the services, from ``APP_…``."""
        return ServiceSettings()

    @provide(scope=Scope.APP)
    def database(self, settings: Settings, own: ServiceSettings) -> Iterator[Database]:
        """The database that jobs work on."""
        database = Database(own.database_url or settings.database_url, threads=own.database_threads)
        yield database
        database.close()

    @provide(scope=Scope.APP)
    def cursors(self, database: Database) -> Cursors:
        """The stored read positions of jobs."""
        return Cursors(database)

    @provide(scope=Scope.APP)
    def mailer(self, settings: Settings, own: ServiceSettings) -> Mailer:
        """Mail: send messages, or write the messages to the outbox folder while no mail server is set."""
        return Mailer(settings, own.outbox)

    def _offer_http(self) -> None:
        from .http import AsyncClient, http_client

        offered = {factory.provides.type_hint for factory in self.factories}
        if AsyncClient not in offered:  # keep a client that the project provides
            self.provide(http_client, scope=Scope.REQUEST)


# Objects from a project's ``services.py``.


def project_services() -> dishka.AsyncContainer | None:
    """Return the container from ``make_container`` in the project's ``services.py``; ``None`` without the function."""
    make: Callable[[], dishka.AsyncContainer] | None = of_project("make_container")
    return make() if make is not None else None


def of_project(name: str) -> Any:
    """Return the attribute ``name`` of the project's ``services.py``; ``None`` without the attribute or the module."""
    module = f"{current().package}.services"
    try:
        return getattr(importlib.import_module(module), name, None)
    except ModuleNotFoundError as error:
        if error.name not in {module, current().package}:
            raise
        return None
