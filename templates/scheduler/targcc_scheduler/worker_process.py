"""Entry point of a worker process: loads the project's jobs and services, but no node and no database connection for the scheduler."""

from __future__ import annotations

import ctypes
import logging
import os
import pickle
import signal
import sys
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

from .core.masking import KNOWN
from .core.secrets import SEALS
from .core.stop_signals import leave_to_node
from .kernel.jobs.declaration import Declaration, define
from .kernel.jobs.definition import JobDefinition
from .kernel.worker.process_child import Child, ForwardLog
from .kernel.worker.processes import Channel, ProcessSetup
from .kernel.worker.runner import JobLoop
from .project import Project, adopt, current
from .services.container import project_services

_PR_SET_PDEATHSIG = 1


class SchedulerOnDemand(Mapping[type, Any]):
    """Provides a :class:`~.scheduler.Scheduler` to jobs whose constructor takes one.

    The scheduler is created on first use. Types are compared by name, so that this module need not import the scheduler: that import takes
    longer than all other imports.

    Args:
        settings: The node's settings, pickled.
        jobs_package: Package with the job modules.
    """

    def __init__(self, settings: bytes, jobs_package: str) -> None:
        self._settings = settings
        self._jobs_package = jobs_package
        self._made: dict[type, Any] = {}

    def __getitem__(self, kind: type) -> Any:
        if (kind.__module__, kind.__name__) != (f"{__package__}.scheduler", "Scheduler"):
            raise KeyError(kind)
        if kind not in self._made:
            settings = pickle.loads(self._settings)  # noqa: S301 - the node wrote it
            self._made[kind] = kind(settings, jobs_package=self._jobs_package)
        return self._made[kind]

    def __iter__(self) -> Iterator[type]:
        return iter(self._made)

    def __len__(self) -> int:
        return len(self._made)


def main() -> None:
    """Run a worker process. Standard input and output connect to the node; output of jobs goes to standard error."""
    leave_to_node()
    _end_with_the_node()
    source, target = _pipes()
    setup: ProcessSetup = pickle.load(source)  # noqa: S301 - the node wrote it
    channel = Channel(source, target)
    logging.basicConfig(level=logging.INFO, handlers=[ForwardLog(channel)], force=True)
    adopt(Project(**setup.project))
    for value in setup.secrets:
        KNOWN.add(value)
    SEALS.use(setup.keys)
    offers = SchedulerOnDemand(setup.settings, setup.jobs_package)
    jobs = JobLoop(project_services, offers=offers, cpu_meter=False)
    jobs.start()
    Child(channel, jobs, _complete).serve()


def _complete(target: Any, name: str) -> JobDefinition:
    mark = getattr(target, "__job__", None)
    if isinstance(mark, Declaration) and mark.name == name:
        return mark.complete(current())
    return define(target, name=name)


def _pipes() -> tuple[BinaryIO, BinaryIO]:
    """Return the pipes from and to the node, moved to other file descriptors, so that ``print`` cannot write to the node."""
    source, target = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.close(nothing)
    return os.fdopen(source, "rb"), os.fdopen(target, "wb")


def _end_with_the_node() -> None:
    """End this process when its node ends.

    On Linux the kernel kills the process, even while a job holds the interpreter. On other systems the process ends at the end of its input.
    """
    if sys.platform != "linux":
        return
    node = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != node:
        os._exit(0)
