"""Services that jobs may ask for, and the container of a project's ``services.py``."""

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


# What jobs may ask for in their constructors.


class StandardServices(Provider):
    """What jobs may ask for, one method each; the return type is what a constructor names.

    ``httpx.AsyncClient`` is offered when a job, or services.py, has imported httpx: it takes 6 MiB in every process.
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
        """The settings of this module, from ``APP_…``."""
        return ServiceSettings()

    @provide(scope=Scope.APP)
    def database(self, settings: Settings, own: ServiceSettings) -> Iterator[Database]:
        """The database the jobs work on."""
        database = Database(own.database_url or settings.database_url, threads=own.database_threads)
        yield database
        database.close()

    @provide(scope=Scope.APP)
    def cursors(self, database: Database) -> Cursors:
        """The positions up to which jobs have read."""
        return Cursors(database)

    @provide(scope=Scope.APP)
    def mailer(self, settings: Settings, own: ServiceSettings) -> Mailer:
        """Sends mail, or keeps it in the outbox folder while no mail server is set."""
        return Mailer(settings, own.outbox)

    def _offer_http(self) -> None:
        from .http import AsyncClient, http_client

        offered = {factory.provides.type_hint for factory in self.factories}
        if AsyncClient not in offered:  # a project may have one of its own
            self.provide(http_client, scope=Scope.REQUEST)


# What a project's ``services.py`` makes: the container of its services, and more.


def project_services() -> dishka.AsyncContainer | None:
    """The container that the project's ``services.py`` makes; ``None`` when it has none."""
    make: Callable[[], dishka.AsyncContainer] | None = of_project("make_container")
    return make() if make is not None else None


def of_project(name: str) -> Any:
    """What the project's ``services.py`` has by a name; ``None`` when it has none."""
    module = f"{current().package}.services"
    try:
        return getattr(importlib.import_module(module), name, None)
    except ModuleNotFoundError as error:
        if error.name not in {module, current().package}:
            raise
        return None
