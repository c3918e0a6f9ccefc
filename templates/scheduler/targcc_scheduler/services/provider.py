"""What jobs may ask for in their constructors."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import httpx
from dishka import Provider, Scope, provide

from ..settings import Settings
from .cursors import Cursors
from .database import Database
from .mailer import Mailer
from .settings import ServiceSettings


class StandardServices(Provider):
    """What jobs may ask for, one method each; the return type is what a constructor names."""

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
        """Where jobs remember how far they came."""
        return Cursors(database)

    @provide(scope=Scope.APP)
    def mailer(self, settings: Settings, own: ServiceSettings) -> Mailer:
        """Sends mail, or keeps it in the outbox folder while no mail server is set."""
        return Mailer(settings, own.outbox)

    @provide(scope=Scope.REQUEST)
    async def http(self) -> AsyncIterator[httpx.AsyncClient]:
        """An HTTP client; the body of an answer is waited for 30 seconds at most."""
        async with httpx.AsyncClient(timeout=30, follow_redirects=True) as client:
            yield client
