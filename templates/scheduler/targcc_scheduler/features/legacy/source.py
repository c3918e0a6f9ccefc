"""Define sources of jobs outside the code, and keep the registry up to date with a source."""

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
    """Content of a source at one time.

    Args:
        definitions: Active jobs by name. An unchanged job is the same object as in the previous reading.
        broken: Entries that cannot become a job.
        idle: Names of inactive jobs.
        asked: Run requests from the source: job names with the requested instant. A request is repeated until its run has ended.
        unwritten_since: Instant since which ended runs may be missing in the source; ``None``: no run is missing.
    """

    definitions: Mapping[str, JobDefinition]
    broken: tuple[BrokenModule, ...] = ()
    idle: frozenset[str] = frozenset()
    asked: Mapping[str, datetime] = field(default_factory=dict)
    unwritten_since: datetime | None = None


Ended = Callable[[Collection[str], datetime], Awaitable[Sequence[Attempt]]]


class JobSource(Protocol):
    """Place outside the code that stores jobs. Threads read the source, one at a time."""

    @property
    def name(self) -> str:
        """Return the source's name for messages, such as ``c_Job``."""

    @property
    def if_taken(self) -> str:
        """Return the advice for a job whose name a job in the code already has, such as ``rename one``."""

    def read(self) -> Reading:
        """Read the source; may block.

        Raises:
            LegacyError: the source cannot be read; the message contains the reason and no secret.
        """

    def write_down(self, attempts: Sequence[Attempt]) -> None:
        """Write attempts that are missing in the source; may block.

        Args:
            attempts: Attempts that ended since ``unwritten_since``, of jobs of the previous reading, oldest first.

        Raises:
            LegacyError: the source cannot be written.
        """

    def close(self) -> None:
        """Close the connections; a later read opens them again."""


class SourceFollower:
    """Keep the registry up to date with a source.

    Args:
        source: The source of the jobs.
        every: Seconds between two readings.
    """

    def __init__(self, source: JobSource, every: float) -> None:
        self._source = source
        self._every = every
        self._reported: set[str] = set()
        self._outage = Outage(log, f"reading {source.name}")
        self._write_outage = Outage(log, f"writing ended runs into {source.name}")

    def fill(self, registry: JobRegistry) -> None:
        """Read the source for the first time; if that fails, run only the jobs in the code and report the source as broken."""
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
        """Read the source repeatedly until cancelled; while a read fails, keep the jobs unchanged.

        Args:
            registry: Receives the jobs.
            changed: Called after the jobs have changed, with the names of the removed and inactive jobs.
            ask: Called with the run requests of a reading.
            ended: Returns the ended attempts of jobs that began since an instant, oldest first.
        """
        idle: frozenset[str] = (
            frozenset()
        )  # empty, so that the first reading reports jobs made inactive while no node ran
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
        """Log broken entries that were not broken in the previous reading."""
        texts = {f"{entry.module}: {entry.error}" for entry in broken}
        for text in sorted(texts - self._reported):
            log.error("%s", text)
        self._reported = texts

    def _failed(self, registry: JobRegistry, error: LegacyError) -> None:
        self._outage.failed(error.__cause__ or error)
        text = mask(str(error))
        broken = BrokenModule(self._source.name, None, f"cannot be read: {text}", text)
        registry.report_external(broken)
