"""What jobs may ask for in their constructors.

A job says what it needs by type, and gets it::

    def __init__(self, database: Database, mailer: Mailer) -> None: ...

``Database``, ``Cursors``, ``Mailer`` and ``httpx.AsyncClient`` come with the scheduler.
To offer something of your own, write its class and one ``@provide`` method in
:class:`Services`; a method that yields cleans up after its ``yield``. ``Scope.APP``
makes one for the whole process, ``Scope.REQUEST`` one for each attempt of a run.
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
    """What jobs may ask for, one ``@provide`` method each; those of the scheduler are there."""


def make_container() -> AsyncContainer:
    """What the scheduler asks for the services; called once in each process."""
    return make_async_container(Services())
