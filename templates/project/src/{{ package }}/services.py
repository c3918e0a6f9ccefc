"""The services that jobs use.

The constructor of a job names its services by type::

    def __init__(self, database: Database, mailer: Mailer) -> None: ...

The scheduler provides ``Database``, ``Cursors``, ``Mailer`` and ``httpx.AsyncClient``.
To add a service, write its class, and a ``@provide`` method in :class:`Services`; a
method that yields cleans up after its ``yield``. ``Scope.APP`` makes one instance per
process, ``Scope.REQUEST`` one instance per attempt of a run.
"""

from dishka import AsyncContainer, make_async_container

from .scheduler import (
    Cursors,
    Database,
    Mailer,
    ProcedureResult,
    StandardServices,
)

__all__ = [
    "Cursors",
    "Database",
    "Mailer",
    "ProcedureResult",
    "Services",
    "make_container",
]


class Services(StandardServices):
    """The services of this project: one ``@provide`` method each."""


def make_container() -> AsyncContainer:
    """Return the container of services; called once in each process."""
    return make_async_container(Services())
