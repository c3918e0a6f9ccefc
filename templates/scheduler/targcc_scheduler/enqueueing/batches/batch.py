"""A batch while it is being put together: nothing of it exists until its block ends, and nothing if the block raises."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from ...core.actor import Actor
from ...hosting import Connection, Host
from ...jobs.definition import JobDefinition, JobType
from ...jobs.registry import JobRef
from ...storage.runs.values import After, NewRun
from ..asked import Options, new_runs
from . import operate
from .operate import Planned


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """A batch as it is asked for.

    Args:
        name: For people.
        on_success: The job that runs once everything in it has succeeded.
        on_finish: The job that runs once everything in it is over.
        by: Who wants it.
        session: The application's session or connection.
        after: What its runs wait for.
        parent: The batch of which it is to be a member, by its id.
    """

    name: str
    on_success: JobRef | None
    on_finish: JobRef | None
    by: Actor
    session: Connection | None
    after: After | None = None
    parent: int | None = None


class Collecting:
    """Collects the runs of a batch.

    Args:
        host: Where it is going to be.
        find: Finds a job.
        wanted: What is asked for.
        outer: The batch that it is in.
    """

    def __init__(
        self,
        host: Host,
        find: Callable[[JobRef], JobDefinition],
        wanted: Wanted,
        outer: Planned | None = None,
    ) -> None:
        self._host = host
        self._find = find
        self._wanted = wanted
        self._outer = outer
        self._planned = Planned(wanted.name, parent=wanted.parent)

    @property
    def batch_id(self) -> int:
        """The batch's id, once its block has ended, and those around it.

        Raises:
            RuntimeError: they have not.
        """
        if self._planned.batch_id is None:
            raise RuntimeError("a batch has its id when its block, and those around it, have ended")
        return self._planned.batch_id

    def enqueue(
        self,
        job: JobRef,
        /,
        *,
        queue: str | None = None,
        priority: int | None = None,
        **arguments: Any,
    ) -> None:
        """Add a run; see :meth:`~..creating.Creating.enqueue`.

        Raises:
            UnknownJob: there is no such job.
            ArgumentsError: the arguments do not fit it.
        """
        self.enqueue_many(job, [arguments], queue=queue, priority=priority)

    def enqueue_many(
        self,
        job: JobRef,
        many: Iterable[Mapping[str, Any]],
        *,
        queue: str | None = None,
        priority: int | None = None,
    ) -> None:
        """Add a run for each of many sets of arguments."""
        options = Options(self._wanted.after, queue, priority)
        self._planned.runs += self._new_runs(job, many, options)

    def batch(
        self, name: str, *, on_success: JobRef | None = None, on_finish: JobRef | None = None
    ) -> Self:
        """A batch that counts as one member of this one; its block stands in this one's, and its runs wait for what those of this one wait for."""
        wanted = Wanted(
            name=name,
            on_success=on_success,
            on_finish=on_finish,
            by=self._wanted.by,
            session=self._wanted.session,
            after=self._wanted.after,
        )
        return type(self)(self._host, self._find, wanted, self._planned)

    def _begin(self) -> Self:
        wanted, planned = self._wanted, self._planned
        if wanted.on_success is not None:
            [planned.on_success] = self._new_runs(wanted.on_success, [{}])
        if wanted.on_finish is not None:
            [planned.on_finish] = self._new_runs(wanted.on_finish, [{}])
        return self

    def _whole(self) -> Planned | None:
        """The block has ended well: what is to be created now, if it stands in no other block."""
        if self._outer is None:
            return self._planned
        self._outer.inner.append(self._planned)
        return None

    def _new_runs(
        self,
        job: JobRef,
        many: Iterable[Mapping[str, Any]],
        options: Options = Options(),  # noqa: B008 - it is frozen
    ) -> list[NewRun]:
        kind, now = JobType.FIRE_AND_FORGET, self._host.clock.now()
        return new_runs(self._find(job), kind, many, self._wanted.by, now, options=options)


class Batch(Collecting):
    """A batch that is put together in an ``async with`` block."""

    async def __aenter__(self) -> Self:
        await self._host.now()  # by the database's clock
        return self._begin()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if kind is None and (whole := self._whole()) is not None:
            wanted = self._wanted
            await self._host.operate(operate.create, wanted.session, whole, wanted.by)


class PlainBatch(Collecting):
    """A batch that is put together in a ``with`` block, by code that is not async."""

    def __enter__(self) -> Self:
        self._host.open_now()
        return self._begin()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if kind is None and (whole := self._whole()) is not None:
            host, session, by = self._host, self._wanted.session, self._wanted.by
            if session is None:
                host.call_now(host.operate(operate.create, None, whole, by))
            else:
                host.finish_now(host.operate_within(operate.create, session, whole, by))
