"""The release of this node: the fingerprint of its jobs, and jobs that the release has renamed.

One release decides about schedules: the release that a person has chosen, else the release whose first node registered last. A release
that is deployed again becomes the newest in two cases: no node of the deciding release has been up since this node started, or none has
been up for ``release_absent_after`` seconds.
"""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import logging
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from importlib import metadata
from typing import Any

import sqlalchemy as sa

from ...core.outage import OUTAGES, Outage
from ...project import current
from ...schedules.calendars import calendars_text
from .. import limit_renames, releases
from ..alert_events import AlertEvent
from ..engine.submit import hand_over, submission
from ..jobs.definition import JobDefinition, stand_in
from ..poller import Mark, PollResult, poller_of
from ..releases import NodeState, Release
from ..runs import eligibility
from ..runs.claim import Row
from ..runs.values import Identity, Settlement
from ..worker.executor import Executor, limits_of
from ..worker.node_services import NodeServices

# Fingerprint of the jobs that a node knows: names, arguments and schedules.

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_LENGTH = 16
_WIDTH = 300
_NAME = re.compile(r"[A-Za-z_]\w*")
_PLAIN = {"int", "float", "bool", "str", "bytes", "None", "list", "dict", "set", "tuple", "Any"} | {
    *("frozenset", "datetime", "date", "time", "timedelta", "decimal", "Decimal", "uuid", "UUID"),
    *("typing", "types", "Optional", "pydantic", "SecretStr"),
}
"""Type names that mean the same in every release."""


def described(definitions: Iterable[JobDefinition]) -> dict[str, tuple[str, str]]:
    """Return the arguments and the schedule of each job as in the code.

    The text is the same on every machine.
    """
    jobs = sorted(definitions, key=lambda job: job.name)
    return {job.name: (_arguments(job), schedule_of(job.coded)) for job in jobs}


def fingerprint_of(jobs: Mapping[str, tuple[str, str]]) -> str:
    """Return a short digest for the result from :func:`described`."""
    text = "\n".join("\t".join((name, *rest)) for name, rest in sorted(jobs.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:_LENGTH]


def schedule_of(job: JobDefinition) -> str:
    """Return the schedule with timezone and calendars, as stored in ``c_JobSchedule``; empty without a schedule."""
    if job.schedule is None:
        return ""
    calendars = calendars_text(job.schedule)
    return f"{job.schedule_text} {job.timezone}"[: _WIDTH - len(calendars)] + calendars


def version_of(project: str) -> str:
    """Return the version of an installed project, else ``0``."""
    try:
        return metadata.version(project)
    except metadata.PackageNotFoundError:
        return "0"


def _arguments(job: JobDefinition) -> str:
    """Return a job's arguments from its signature; add the JSON schema if an argument has a type that the project defines."""
    parameters = inspect.signature(job.function).parameters.values()
    wanted = [item for item in parameters if not _type_of(item).endswith("JobContext")]
    text = ", ".join(_shape(item) for item in wanted if item.name != "self")
    names = {name for item in wanted for name in _NAME.findall(_type_of(item))}
    if not names <= _PLAIN:
        text = f"{text} {_schema_of(job)}"
    return _ADDRESS.sub("", " ".join(text.split()))


def _shape(parameter: inspect.Parameter) -> str:
    """Return name and type of a parameter, and whether a default exists.

    The default itself is left out: the text of a set differs between processes.
    """
    mark = "" if parameter.default is parameter.empty else " = …"
    return f"{parameter.name}: {_type_of(parameter)}{mark}"


def _type_of(parameter: inspect.Parameter) -> str:
    if parameter.annotation is parameter.empty:
        return ""
    kind = parameter.annotation
    return kind if isinstance(kind, str) else inspect.formatannotation(kind)


def _schema_of(job: JobDefinition) -> str:
    """Return the JSON schema of a job's arguments without defaults. Slow: builds the pydantic model."""
    try:
        model = job.parameters
        return repr(_without_defaults(model.model_json_schema())) if model is not None else ""
    except Exception as error:  # noqa: BLE001 - not every type has a schema
        return type(error).__name__


def _without_defaults(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {key: _without_defaults(item) for key, item in schema.items() if key != "default"}
    return [_without_defaults(item) for item in schema] if isinstance(schema, list) else schema


# The release of this node, and jobs that the release has renamed.

# Releases: the jobs that this node knows, the release that decides about schedules, and runs that wait for a node that knows their job.

log = logging.getLogger("targcc.node.releases")

_IN_SHORT = 8
_LOOK_AGAIN_SECONDS = 1.0


class ReleaseWatch:
    """Publishes the jobs that this node knows, and acts on other nodes' changes and on people's requests. Runs apart from the heartbeat.

    Args:
        services: Database, engine, clock and settings.
        definitions: The jobs; the mapping may grow.
        own: Return the jobs declared in the code; the release is computed from these jobs.
        name: The node's name.
        server_id: Return the node's current id.
        queues: Queues that the node claims runs from.
        look_again: Find jobs whose files were added while the process runs.
        settled: Called with each run that is given up.
    """

    def __init__(
        self,
        services: NodeServices,
        definitions: Mapping[str, JobDefinition],
        *,
        own: Callable[[], Iterable[JobDefinition]],
        name: str,
        server_id: Callable[[], str],
        queues: Iterable[str],
        look_again: Callable[[], None],
        settled: Callable[[Settlement], None],
    ) -> None:
        self.release = ""
        """The release of this process; constant while the process runs."""
        self.executor: Executor | None = None
        self.decided: Callable[[], None] = lambda: None
        """Called when another release decides from now on."""
        self._services = services
        self._definitions = definitions
        self._own = own
        self._name = name
        self._server_id = server_id
        self._queues = tuple(queues)
        self._look_again = look_again
        self._settled = settled
        self._known: list[JobDefinition] = []
        self._fingerprint = ""
        self._presented = ""
        self._refused = False
        self._looked_again = float("-inf")
        self._leader = _Leader(())
        self._roused = False
        self._releases: Sequence[Release] = ()
        self._mark: Mark = None
        self._outage = Outage(log, "looking at releases")

    async def start(self) -> None:
        """Publish this node's jobs, before the node creates or claims any run.

        Raises:
            sqlalchemy.exc.DBAPIError: the database cannot be written.
        """
        known = list(self._definitions.values())
        jobs = await asyncio.to_thread(described, known)
        own = fingerprint_of({job.name: jobs[job.name] for job in self._own() if job.name in jobs})
        async with self._services.store.read() as connection:
            before = await releases.load(connection)
        self.release = _name_of(self._services.settings.release, own, before)
        self._leader = _Leader(before)
        await self._present(known, jobs, release_fingerprint=own)

    async def run(self) -> None:
        """Poll at the heartbeat interval, or sooner after :meth:`wake`, until cancelled."""
        most, self._roused = self._services.settings.heartbeat_seconds, True
        while True:
            within, self._roused = (0.0 if self._roused else most), False
            try:
                await self.look(await poller_of(self._services.store).next(within))
                self._outage.over()
            except OUTAGES as error:
                self._outage.failed(error)

    def refused(self) -> None:
        """Note that this node refused runs: their job files may have been added while the process ran."""
        self._refused = True
        if self._may_look_again():
            self.wake()

    def wake(self) -> None:
        """Poll soon: jobs in this process or on other nodes have changed."""
        self._roused = True
        poller_of(self._services.store).hurry()

    async def look(self, seen: PollResult | None = None) -> None:
        """Act on changed jobs, releases and drain requests, and on runs that no node knows.

        Args:
            seen: A poll result. Default: poll now.
        """
        if self._refused and self._may_look_again():
            self._refused, self._looked_again = False, time.monotonic()
            await asyncio.to_thread(self._look_again)
        if self._has_changed() or self._presented != self._server_id():
            known = list(self._definitions.values())
            await self._present(known, await asyncio.to_thread(described, known))
            seen = None  # the poll was before the change
        seen = seen or await poller_of(self._services.store).look()
        if seen.releases != self._mark:
            async with self._services.store.read() as connection:
                self._releases = await releases.load(connection)
            self._mark = seen.releases
        self._hold(seen.nodes)
        await self._lead(self._releases, seen.nodes)
        if seen.unknown:
            async with self._services.store.read() as connection:
                unknown = await eligibility.unknown(connection)
            await self._tend(unknown)

    # Jobs that this node knows.

    def _may_look_again(self) -> bool:
        return time.monotonic() - self._looked_again >= _LOOK_AGAIN_SECONDS

    def _has_changed(self) -> bool:
        return self._known != list(self._definitions.values())

    async def _present(
        self,
        known: list[JobDefinition],
        jobs: Mapping[str, tuple[str, str]],
        release_fingerprint: str = "",
    ) -> None:
        """Write this node's jobs to the database, then make runs claimable that the node refused as unknown before and that its jobs match now."""
        fingerprint, server_id = fingerprint_of(jobs), self._server_id()
        services = self._services
        async with services.store.write() as connection:
            await releases.present(
                connection,
                releases.Presented(
                    server_id=server_id,
                    release=self.release,
                    release_fingerprint=release_fingerprint or fingerprint,
                    fingerprint=fingerprint,
                    jobs=jobs,
                ),
                services.clock.now(),
            )
        self._known, self._fingerprint, self._presented = known, fingerprint, server_id
        if self.executor is not None:
            self.executor.identity = Identity(fingerprint, self._name, self.release)
            await self._ask_anew()

    async def _ask_anew(self) -> None:
        services, after = self._services, 0
        while True:
            async with services.store.write() as connection:
                runs = await eligibility.not_asked_yet(
                    connection, self._fingerprint, self._queues, after
                )
                if not runs:
                    break
                await services.engine.refer(connection, [submission(run) for run in runs])
            after = runs[-1].run_id
        services.engine.wake()

    # Drain requests and the deciding release.

    def _hold(self, nodes: Sequence[NodeState]) -> None:
        """Claim no runs while a drain of this node is requested."""
        by = next((node.drain_requested_by for node in nodes if node.id == self._presented), None)
        if self.executor is None or self.executor.holds == (by is not None):
            return
        self.executor.holds = by is not None
        if by is not None:
            log.info("this node takes nothing new: it is being drained, by %s", by)
        else:
            log.info("this node takes runs again")
            self._services.engine.wake()

    async def _lead(self, known: Sequence[Release], nodes: Sequence[NodeState]) -> None:
        """Detect a change of the deciding release; make this release the newest if the deciding release is gone."""
        first = releases.deciding(known)
        if first is None:
            return
        absent_after = self._services.settings.release_absent_after
        if self._leader.is_gone(first, self.release, known, nodes, absent_after):
            log.warning(
                "release %s decides about schedules from now on: no node of %s is up",
                self.release,
                first.name,
            )
            async with self._services.store.write() as connection:
                await releases.renew(connection, self.release, self._services.clock.now())
            self.wake()  # poll for the change
        elif self._leader.has_changed(first):
            # A single release decides: log that at debug level.
            level = logging.INFO if len(known) > 1 else logging.DEBUG
            log.log(level, "release %s decides about schedules", first.name)
            self.decided()

    # Runs that no node knows.

    async def _tend(self, unknown: eligibility.Unknown) -> None:
        """Alert about runs that no node has known for ``unknown_after`` seconds; fail such runs after ``give_up_after`` seconds, if set."""
        settings, now = self._services.settings, self._services.clock.now()
        tell_before = now - timedelta(seconds=settings.unknown_after)
        if unknown.untold_since is not None and unknown.untold_since <= tell_before:
            await self._tell(tell_before)
        if settings.give_up_after is None or unknown.since is None:
            return
        patience = timedelta(seconds=settings.give_up_after)
        if unknown.since <= now - patience:
            await self._give_up(now, patience)

    async def _tell(self, before: datetime) -> None:
        async with self._services.store.write() as connection:
            runs_by_job = await eligibility.to_tell(connection, before)
        for job_name, runs in runs_by_job.items():
            definition = self._definitions.get(job_name) or stand_in(job_name, runs[0].Queue)
            self._services.notify(_event(definition, runs))

    async def _give_up(self, now: datetime, waited: timedelta) -> None:
        services = self._services
        async with services.store.write() as connection:
            limits = limits_of(self._definitions)
            ended = await eligibility.give_up(connection, now, waited, limits)
            await hand_over(services.engine, connection, ended, now)
        for item in ended:
            log.error("run %d (%s): %s", item.claim.run_id, item.claim.job_name, item.message)
            self._settled(item)


class _Leader:
    """Tracks the deciding release, and whether its nodes are up.

    Args:
        known: Releases that existed before this node started.
    """

    def __init__(self, known: Sequence[Release]) -> None:
        self._at_start = {release.name: release.first_seen_at for release in known}
        self._standing: object = None
        self._beats: dict[str, datetime] | None = None
        self._was_up = False
        self._seen = time.monotonic()

    def has_changed(self, first: Release) -> bool:
        """Return whether the deciding release has changed, or was chosen or renewed again."""
        before, self._standing = self._standing, releases.rank_of(first)
        return before != self._standing

    def is_gone(
        self,
        first: Release,
        node_name: str,
        known: Sequence[Release],
        nodes: Sequence[NodeState],
        absent_after: float,
    ) -> bool:
        """Return whether this node's release must take over, because the deciding release is gone."""
        if first.name == node_name:
            self._seen = time.monotonic()
            return False
        self._notice(first, {one.id: one.beat_at for one in nodes if one.release == first.name})
        if first.chosen_at is not None or self._beats:
            return False
        if not self._was_up:
            return True
        running = {one.release for one in nodes}
        newest = next((one.name for one in known if one.name in running), None)
        return newest == node_name and time.monotonic() - self._seen >= absent_after

    def _notice(self, first: Release, beats: dict[str, datetime]) -> None:
        """Record the heartbeats of the deciding release's nodes. Nodes whose heartbeats do not change died before this node started."""
        is_later = self._at_start.get(first.name) != first.first_seen_at
        if is_later or (self._beats is not None and beats.items() - self._beats.items()):
            self._was_up = True
        self._beats = beats
        if beats:
            self._seen = time.monotonic()


def _name_of(given: str, fingerprint: str, known: Sequence[Release]) -> str:
    """Return the given name of a release, or version and fingerprint; append the fingerprint if a different release has the name already."""
    short = fingerprint[:_IN_SHORT]
    name = given or f"{version_of(current().name)}+{short}"
    taken = any(release.name == name and release.fingerprint != fingerprint for release in known)
    return f"{name[:90]}+{short}" if taken else name[:100]


def _event(definition: JobDefinition, runs: Sequence[Row]) -> AlertEvent:
    first = runs[0]
    what = "1 run waits" if len(runs) == 1 else f"{len(runs)} runs wait"
    refusals = dict.fromkeys(
        f"{item.node} (release {item.release}): {item.why}"
        for item in eligibility.refusals_of(first.RefusedBy)
    )
    return AlertEvent(
        kind="unknown",
        definition=definition,
        run_id=first.Id,
        message=f"{what} for a node that knows it, since {first.UnknownSince.isoformat(timespec='seconds')};"
        f" asked: {'; '.join(refusals)}",
        attempt=first.Attempt + 1,
        scheduled_for=first.ScheduledFor,
    )


# Renamed jobs: move rows from the old names to the new names.

_MOST = 500
"""Most rows of a table renamed in one transaction."""


class Aliases:
    """Moves the rows of renamed jobs from the old names to the new names.

    Nodes of the earlier release may still write under the old names. So the move repeats as long as jobs declare aliases.

    Args:
        services: Database, engine, clock and settings.
        definitions: The jobs; the mapping may grow.
        release: Return this node's release, once known.
    """

    def __init__(
        self,
        services: NodeServices,
        definitions: Mapping[str, JobDefinition],
        release: Callable[[], str],
    ) -> None:
        self.taken: Callable[[], None] = lambda: None
        """Called when a job has taken over a schedule."""
        self._services = services
        self._definitions = definitions
        self._release = release
        self._outage = Outage(log, "taking over what renamed jobs had")

    async def start(self) -> None:
        """Move the rows that decide about runs, before any run is created or claimed.

        These rows are limit keys, schedules, pauses, overrides, owners, alert rules, unique keys and waiting runs.

        Raises:
            sqlalchemy.exc.DBAPIError: the database cannot be written.
        """
        for new, old in self._names():
            await self._carry_limits(new, old)
            await self._take_over(new, old)

    async def run(self) -> None:
        """Move the history, and rows written later under old names, until cancelled."""
        while True:
            try:
                await self.look()
                self._outage.over()
                wait = self._services.settings.heartbeat_seconds
            except (*OUTAGES, sa.exc.IntegrityError) as error:  # a node settled a run meanwhile
                wait = self._outage.failed(error).total_seconds()
            await asyncio.sleep(wait)

    async def look(self) -> None:
        """Move all rows under old names."""
        for new, old in self._names():
            await self._take_over(new, old)
            there_is_more = True
            while there_is_more:
                there_is_more = await self._take_history(new, old)

    def _names(self) -> Iterator[tuple[str, str]]:
        """Yield each job with each of its old names; skip a name that another job has now."""
        for name, definition in list(self._definitions.items()):
            for alias in definition.aliases:
                if alias not in self._definitions:
                    yield name, alias

    async def _carry_limits(self, new: str, old: str) -> None:
        """Move the limit keys of a renamed job, before this node requests capacity: from then on all nodes use one key."""
        if self._definitions[new].keyed_limit is None:
            return
        store, now = self._services.store, self._services.clock.now()
        await store.change(lambda connection: limit_renames.lead_on(connection, new, old, now))
        await store.change(lambda connection: limit_renames.carry(connection, new, old))

    async def _take_over(self, new: str, old: str) -> None:
        store, engine = self._services.store, self._services.engine
        async with store.read() as connection:
            if not await releases.is_left(connection, new, old):
                return
        async with store.write() as connection:
            taken = await releases.take_over(connection, new, old, self._release())
            if taken.refused:
                await engine.refer(connection, [submission(run) for run in taken.refused])
        if taken.schedule:
            log.info("%s goes on with the schedule and the pause of %s", new, old)
            self.taken()
        if taken.refused:
            engine.wake()

    async def _take_history(self, new: str, old: str) -> bool:
        async with self._services.store.write() as connection:
            return await releases.take_history(connection, new, old, _MOST)
