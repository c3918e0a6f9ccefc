"""Jobs that come from outside the code: what a source of them is, and how the registry follows one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from ...core.errors import LegacyError
from ...core.masking import mask
from ...core.outage import Outage
from ...kernel.jobs.definition import JobDefinition
from ...kernel.jobs.discovery import BrokenModule
from ...kernel.jobs.registry import JobRegistry
from ...kernel.queries.models import Attempt

log = logging.getLogger("targcc.legacy.source")


@dataclass(frozen=True)
class Reading:
    """What a source holds now.

    Args:
        definitions: The jobs that are to run, by name. A job that has not changed is the same object as in the reading before.
        broken: What cannot be made a job.
        idle: Names of jobs that are kept there and are not to run.
        asked: Jobs that somebody there wants to run now, with the instant for which it was asked; told again until the run is over.
        unwritten_since: From when on runs may have ended here that are not written down there; ``None``: all are.
    """

    definitions: Mapping[str, JobDefinition]
    broken: tuple[BrokenModule, ...] = ()
    idle: frozenset[str] = frozenset()
    asked: Mapping[str, datetime] = field(default_factory=dict)
    unwritten_since: datetime | None = None


Ended = Callable[[Collection[str], datetime], Awaitable[Sequence[Attempt]]]


class JobSource(Protocol):
    """A place outside the code where jobs are kept. It is read in threads, one reading at a time."""

    @property
    def name(self) -> str:
        """How messages call it, such as ``c_Job``."""

    @property
    def if_taken(self) -> str:
        """What to do about a job there whose name a job in the code has, such as ``rename one``."""

    def read(self) -> Reading:
        """What it holds now; may block.

        Raises:
            LegacyError: it cannot be read; the message says why, and holds no secret.
        """

    def write_down(self, attempts: Sequence[Attempt]) -> None:
        """Write down there what has ended here since ``unwritten_since`` and is missing; may block.

        Args:
            attempts: Of the jobs of the reading before, oldest first.

        Raises:
            LegacyError: it cannot be written.
        """

    def close(self) -> None:
        """Close its connections; it may be read again."""


class SourceFollower:
    """Keeps the registry up to date with a source.

    Args:
        source: Where the jobs are.
        every: Seconds between two readings.
    """

    def __init__(self, source: JobSource, every: float) -> None:
        self._source = source
        self._every = every
        self._reported: set[str] = set()
        self._outage = Outage(log, f"reading {source.name}")
        self._write_outage = Outage(log, f"writing ended runs into {source.name}")

    def fill(self, registry: JobRegistry) -> None:
        """Read for the first time; if that fails the jobs in the code run, and the source is reported as broken."""
        try:
            self._replace(registry, self._source.read())
        except LegacyError as error:
            self._failed(registry, error)

    async def follow(
        self,
        registry: JobRegistry,
        changed: Callable[[set[str]], Awaitable[None]],
        ask: Callable[[Mapping[str, datetime]], Awaitable[None]] | None = None,
        ended: Ended | None = None,
    ) -> None:
        """Read again and again, until cancelled; while that fails, the jobs stay as they are.

        Args:
            registry: Gets the jobs.
            changed: Called with the names of the jobs that are not to run, after the jobs have changed.
            ask: Called with what somebody asked for.
            ended: The attempts of jobs that have begun since an instant and are over, oldest first.
        """
        idle: frozenset[str] = (
            frozenset()
        )  # so that the first reading tells of jobs that were made idle while nothing ran
        while True:
            try:
                reading = await asyncio.to_thread(self._source.read)
                gone, different = self._replace(registry, reading)
                self._report(reading, gone, different)
                if gone or different or reading.idle != idle:
                    await changed({*gone, *reading.idle} - registry.definitions.keys())
                idle = reading.idle
                if reading.asked and ask is not None:
                    await ask(reading.asked)
                self._outage.over()
                if reading.unwritten_since is not None and ended is not None:
                    await self._write_down(registry, reading, reading.unwritten_since, ended)
            except LegacyError as error:
                self._failed(registry, error)
            except Exception as error:  # noqa: BLE001 - our own database may be unavailable
                self._outage.failed(error)
            await asyncio.sleep(self._every)

    async def _write_down(
        self, registry: JobRegistry, reading: Reading, since: datetime, ended: Ended
    ) -> None:
        known = registry.definitions
        jobs = [name for name, job in reading.definitions.items() if known.get(name) is job]
        try:
            attempts = await ended(jobs, since)
            await asyncio.to_thread(self._source.write_down, attempts)
            self._write_outage.over()
        except LegacyError as error:
            self._write_outage.failed(error.__cause__ or error)

    def close(self) -> None:
        """Close the source."""
        self._source.close()

    def _replace(self, registry: JobRegistry, reading: Reading) -> tuple[set[str], set[str]]:
        source = self._source
        self._report_broken(reading.broken)
        return registry.replace_external(
            source.name, reading.definitions, reading.broken, if_taken=source.if_taken
        )

    def _report(self, reading: Reading, gone: set[str], different: set[str]) -> None:
        name = self._source.name
        for job in sorted(different):
            log.info("%s: %s runs %s", name, job, reading.definitions[job].schedule_text)
        for job in sorted(gone):
            log.info("%s: %s is inactive or gone", name, job)

    def _report_broken(self, broken: tuple[BrokenModule, ...]) -> None:
        """Log what was not broken at the reading before."""
        texts = {f"{one.module}: {one.error}" for one in broken}
        for text in sorted(texts - self._reported):
            log.error("%s", text)
        self._reported = texts

    def _failed(self, registry: JobRegistry, error: LegacyError) -> None:
        self._outage.failed(error.__cause__ or error)
        text = mask(str(error))
        broken = BrokenModule(self._source.name, None, f"cannot be read: {text}", text)
        registry.report_external(broken)
