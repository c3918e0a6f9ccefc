"""Standard services that jobs may ask for in their constructors."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from dishka import Provider, Scope, provide

from ..settings import Settings
from .database import Cursors, Database
from .mailer import Mailer
from .settings import ServiceSettings

if TYPE_CHECKING:
    pass


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
