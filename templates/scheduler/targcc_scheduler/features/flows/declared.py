"""Declare a job for each flow; a run of the job starts the flow.

So flows have the schedules, calendars, pauses and typed arguments of jobs.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any, Protocol, cast

from ...core.errors import JobError
from ...kernel.jobs.context import JobContext, JobResult
from ...kernel.jobs.declaration import Declaration, JobOptions
from ...project import Project
from .graph import steps_of
from .language import FlowError

_OWN = ("cron", "arguments", "steps")
"""Keys of a flow in targcc.yaml that are no options of ``@job``."""


class FlowStarter(Protocol):
    """Protocol for starting flows, implemented by the scheduler."""

    async def start_flow_of_run(
        self, name: str, run_id: int, arguments: Mapping[str, Any], *, alone: bool, by: str
    ) -> tuple[int, bool]:
        """Start the flow of a run; see :meth:`.actions.Flowing.start_flow_of_run`."""


class FlowJob:
    """Base class of the generated jobs that start flows."""

    flow = ""

    def __init__(self, starter: FlowStarter) -> None:
        self._starter = starter

    async def start(self, ctx: JobContext, arguments: Mapping[str, Any]) -> JobResult:
        """Start the flow once a run. With ``overlap="skip"``, start nothing while another flow of this name is under way."""
        flow_id, started = await self._starter.start_flow_of_run(
            self.flow,
            ctx.run_id,
            arguments,
            alone=ctx.definition.overlap == "skip",
            by=ctx.triggered_by,
        )
        if not started:
            return JobResult.success(f"flow {flow_id} is still running: no other is started")
        return JobResult.success(f"flow {flow_id} has begun").with_metadata(flow=flow_id)


def flow_declarations(project: Project) -> Iterator[tuple[str, Declaration | Exception]]:
    """Yield the job declaration of each flow in a project, or the error in the flow, by the flow's name for messages."""
    for name, flow in project.flows.items():
        try:
            steps_of(flow.get("steps") or {})
            yield f"flow {name}", _declaration(name, flow)
        except (FlowError, JobError) as error:
            yield f"flow {name}", error


def _declaration(name: str, declared: Mapping[str, Any]) -> Declaration:
    options = {key: value for key, value in declared.items() if key not in _OWN}
    steps = len(declared["steps"])
    options = {"description": f"A flow of {steps} steps", "isolation": "thread", **options}
    target = _target(name, declared.get("arguments") or {})
    return Declaration(target, declared.get("cron"), cast("JobOptions", {"name": name, **options}))


def _target(name: str, arguments: Mapping[str, Any]) -> type[FlowJob]:
    """Build a class with an ``execute`` method whose parameters are the flow's arguments with their defaults."""

    async def execute(self: FlowJob, ctx: JobContext, **given: Any) -> JobResult:
        return await self.start(ctx, given)

    kind = inspect.Parameter
    execute.__signature__ = inspect.Signature(  # type: ignore[attr-defined]  # as inspect reads it
        [
            kind("self", kind.POSITIONAL_OR_KEYWORD),
            kind("ctx", kind.POSITIONAL_OR_KEYWORD, annotation=JobContext),
            *(
                kind(key, kind.KEYWORD_ONLY, default=value, annotation=_type_of(value))
                for key, value in arguments.items()
            ),
        ]
    )
    members = {"flow": name, "execute": execute, "__module__": __name__, "__doc__": None}
    return type(name, (FlowJob,), members)


def _type_of(default: Any) -> Any:
    return str | None if default is None else type(default)
