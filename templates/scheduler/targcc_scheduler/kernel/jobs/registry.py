"""Register a process's jobs: discovered jobs, jobs registered by hand, and external jobs (from outside the code)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from operator import itemgetter
from typing import Any

from ...core.errors import UnknownJob
from ...core.states import RunState
from ...core.text import closest
from ...project import Project, current
from .declaration import Declaration
from .definition import JobDefinition
from .discovery import BrokenModule, Discovered, check, discover, discover_more
from .hooks import AROUND, A, Cancelled, Failed, Hooks, Missed, Retrying, Skipped, Succeeded
from .overrides import Override

# This process's jobs: discovered, registered by hand, or external.

Apply = Callable[[JobDefinition, Sequence[Override], Project], JobDefinition]
"""A function that applies the overrides of a job to the job's definition."""

JobRef = str | JobDefinition | Callable[..., Any]
"""A reference to a job: a name, definition, class or function."""


class JobRegistry:
    """A process's jobs, by name. The first access imports the jobs package, in the calling thread.

    Args:
        package: The jobs package's dotted name, such as ``acme_jobs.jobs``.
        more: Adds the external jobs, after the jobs package has been imported.
        project: The project whose defaults complete the jobs. Default: this process's project.
    """

    def __init__(
        self,
        package: str,
        more: Callable[[JobRegistry], None] | None = None,
        project: Project | None = None,
    ) -> None:
        self.hooks = Hooks()
        """The process's hooks. Discovered hooks are added when the jobs package is imported."""
        self._package = package
        self._more = more
        self._project = project
        self._lock = threading.RLock()
        self._discovered: Discovered | None = None
        self._external: set[str] = set()
        self._completed: dict[int, tuple[Declaration, JobDefinition]] = {}
        self._external_broken: list[BrokenModule] = []
        self._failing: list[BrokenModule] = []
        self._overrides: dict[str, tuple[Override, ...]] = {}
        self._apply: Apply | None = None
        self._effective: dict[str, tuple[JobDefinition, tuple[Override, ...], JobDefinition]] = {}
        self._definitions: dict[str, JobDefinition] = {}
        """The jobs with people's overrides, as callers get the jobs. ``_discovered`` has the jobs without overrides."""
        self._following: dict[str, list[str]] = {}
        """The names of the jobs that follow a job."""
        self._spellings: _Spellings | None = None
        """The jobs by other names, made when somebody asks for one."""

    @property
    def definitions(self) -> Mapping[str, JobDefinition]:
        """The jobs by name, with overrides. The mapping is live: registering or replacing a job changes the mapping."""
        self._found()
        return self._definitions

    @property
    def own(self) -> list[JobDefinition]:
        """The jobs in the code, without external jobs and without overrides."""
        definitions = self._found().definitions
        return [job for name, job in list(definitions.items()) if name not in self._external]

    @property
    def broken(self) -> Sequence[BrokenModule]:
        """The job files and external jobs that could not be used, and the jobs that cannot run; see :func:`~.checks.check_jobs`."""
        return [*self._found().broken, *self._failing, *self._external_broken]

    def find(self, job: JobRef) -> JobDefinition:
        """Return a job by name (in any case, with or without ``Job``), earlier name, display name, definition, class or function.

        Raises:
            UnknownJob: No job matches; the message suggests a similar name.
        """
        if isinstance(job, JobDefinition):
            return job
        if not isinstance(job, str):
            return self._find_by_mark(job)
        return self._find_by_name(job)

    def broken_file_of(self, name: str) -> BrokenModule | None:
        """Return the broken file that seems to declare a job with this name; ``None`` without such a file, or for a known job."""
        wanted = _folded(name)
        if not wanted or name in self.definitions:
            return None
        return next(
            (
                module
                for module in self.broken
                if wanted in {_folded(job_name) for job_name in module.names()}
            ),
            None,
        )

    def key_of(self, name: str) -> str:
        """Return a job's key by any name that :meth:`find` accepts; return an unknown name unchanged."""
        try:
            return self.find(name).name
        except UnknownJob:
            return name

    def add(self, definition: JobDefinition) -> None:
        """Register a job by hand.

        Raises:
            JobError: The job has a schedule or ``after``, and arguments without defaults.
            TypeError: A parameter has no type, or a type that pydantic cannot check.
            ValueError: Another job has the name.
        """
        check(definition)
        definitions = self._found().definitions
        known = definitions.get(definition.name)
        if known is not None and known.target is not definition.target:
            raise ValueError(f"the job name {definition.name!r} is taken by {known.module}")
        definitions[definition.name] = definition
        if known is None:  # one job more, without a look at all others
            self._follow(definition)
            self._publish((definition.name,))
        else:
            self._hold(definition.name)

    def override(self, overrides: Iterable[Override], apply: Apply) -> set[str]:
        """Replace all overrides by ``overrides``, which ``apply`` applies to jobs; return the jobs whose overrides changed."""
        with self._lock:
            self._apply = apply
            before, self._overrides = self._overrides, {}
            for override in overrides:
                self._overrides[override.job] = (*self._overrides.get(override.job, ()), override)
            changed = {
                name
                for name in before.keys() | self._overrides.keys()
                if before.get(name) != self._overrides.get(name)
            }
            if self._discovered is not None:
                self._hold(*changed)
            return changed

    def _hold(self, *names: str) -> None:
        """Recompute the public definitions for these jobs and for the jobs that these jobs follow."""
        self._following = {}
        for job in self._found().definitions.values():
            self._follow(job)
        self._publish(names)

    def _follow(self, job: JobDefinition) -> None:
        for parent in job.after:
            self._following.setdefault(parent, []).append(job.name)

    def _publish(self, names: Collection[str]) -> None:
        definitions = self._found().definitions
        touched = {
            *names,
            *(
                parent
                for name in names
                if name in definitions
                for parent in definitions[name].after
            ),
        }
        with self._lock:
            for name in touched:
                if name in definitions:
                    changed = self._changed(definitions[name])
                    if name in self._following:
                        names_after = tuple(self._following[name])
                        changed = replace(changed, followers=partial(self._some, names_after))
                    self._definitions[name] = changed
                else:
                    self._definitions.pop(name, None)
            self._spellings = None

    def _some(self, names: Sequence[str]) -> list[JobDefinition]:
        return [self._definitions[name] for name in names if name in self._definitions]

    def _changed(self, definition: JobDefinition) -> JobDefinition:
        overrides = self._overrides.get(definition.name)
        if not overrides or self._apply is None:
            return definition
        made = self._effective.get(definition.name)
        if made is None or made[0] is not definition or made[1] != overrides:
            whole = self._apply(definition, overrides, self._project or current())
            made = self._effective[definition.name] = definition, overrides, whole
        return made[2]

    def replace_external(
        self,
        source: str,
        jobs: Mapping[str, JobDefinition],
        broken: Sequence[BrokenModule] = (),
        *,
        if_taken: str = "rename one of the two",
    ) -> tuple[set[str], set[str]]:
        """Replace the external jobs; a job in the code takes precedence over an external job with the same name.

        Args:
            source: The external jobs' source, for messages.
            jobs: The external jobs by name.
            broken: The external jobs that could not be used.
            if_taken: The advice in the message about an external job whose name a job in the code has.

        Returns:
            The removed jobs, and the new or changed jobs, by name.
        """
        with self._lock:
            definitions = self._found().definitions
            code_jobs = {
                _folded(n): job for n, job in definitions.items() if n not in self._external
            }
            kept = {name: job for name, job in jobs.items() if _folded(name) not in code_jobs}
            taken = [
                _taken(f'{source} "{name}"', code_jobs[_folded(name)], if_taken)
                for name in sorted(jobs.keys() - kept.keys())
            ]
            different = {name for name, job in kept.items() if definitions.get(name) is not job}
            gone = self._external - kept.keys()
            for name in gone:
                del definitions[name]
            definitions.update(kept)
            self._external, self._external_broken = set(kept), [*broken, *taken]
            self._hold(*gone, *different)
            return gone, different

    def report_external(self, broken: BrokenModule) -> None:
        """Report that the external jobs cannot be read at present; the jobs stay unchanged."""
        with self._lock:
            self._external_broken = [broken]

    def report_failing(self, failing: Sequence[BrokenModule]) -> None:
        """Report the jobs that cannot run although their files can be imported. The jobs stay defined, and their runs fail with the cause."""
        self._failing = list(failing)

    def look_again(self) -> None:
        """Import job files that were added since the last import of the jobs package."""
        discovered = self._found()
        with self._lock:
            discover_more(self._package, discovered)
            self._hold(*(discovered.definitions.keys() - self._definitions.keys()))

    def _found(self) -> Discovered:
        with self._lock:
            if self._discovered is None:
                self._discovered = discover(self._package, self._project, self.hooks)
                self._hold(*self._discovered.definitions)
                if self._more is not None:
                    self._more(self)
            return self._discovered

    def _find_by_mark(self, job: Callable[..., Any]) -> JobDefinition:
        mark = getattr(job, "__job__", None)
        if not isinstance(mark, Declaration):
            raise UnknownJob(f"{getattr(job, '__qualname__', job)} is not a job: it has no @job")
        known = self.definitions.get(mark.name)  # with followers: other jobs may follow this job
        if known is not None and known.target is mark.target:
            return known
        if id(mark) not in self._completed:  # once: completing builds a model
            self._completed[id(mark)] = mark, mark.complete(self._project or current())
        return self._changed(self._completed[id(mark)][1])

    def _find_by_name(self, text: str) -> JobDefinition:
        definitions = self.definitions
        if text in definitions:
            return definitions[text]
        with self._lock:
            if self._spellings is None:
                self._spellings = _Spellings(definitions.values())
            definition = self._spellings.find(text)
        if definition is not None:
            return definition
        names = {_folded(name): name for name in definitions}
        near = closest(_folded(text), names)
        hint = f": did you mean {names[near]!r}?" if near else ""
        raise UnknownJob(f"there is no job {text!r}{hint}")


class _Spellings:
    """Jobs by their other names, so that a call by one does not look at all jobs; of several jobs, the first counts."""

    def __init__(self, definitions: Iterable[JobDefinition]) -> None:
        self._exact: dict[str, tuple[int, JobDefinition]] = {}
        self._folded: dict[str, tuple[int, JobDefinition]] = {}
        for found in enumerate(definitions):
            for alias in found[1].aliases:
                self._exact.setdefault(alias, found)
            for name in (found[1].name, found[1].display_name):
                self._folded.setdefault(_folded(name), found)

    def find(self, text: str) -> JobDefinition | None:
        """Return the job with this earlier name, name or display name."""
        found = [self._exact.get(text), self._folded.get(_folded(text))]
        return min(filter(None, found), key=itemgetter(0), default=(0, None))[1]


def _taken(place: str, by: JobDefinition, if_taken: str) -> BrokenModule:
    text = f"the name is taken by {by.module}: {if_taken}"
    return BrokenModule(place, None, text, text)


def _folded(name: str) -> str:
    return "".join(filter(str.isalnum, name)).casefold().removesuffix("job")


# Hooks for a scheduler that an application creates: for functions outside the jobs package.


class Hooked:
    """The hook methods in :class:`~...scheduler.Scheduler`; use each method as a decorator, before the scheduler starts."""

    _registry: JobRegistry

    @property
    def hooks(self) -> Hooks:
        """This process's hooks; the first access imports the jobs package."""
        self._registry.definitions  # noqa: B018 - the hooks are found with the jobs
        return self._registry.hooks

    def around(self, hook: A) -> A:
        """Run ``hook`` around each attempt, outside the jobs package's hooks; see :func:`~.hooks.around`.

        For jobs with ``isolation="process"``, define the hook at the top level in a module that the jobs' processes can import.

        Raises:
            HookError: ``hook`` is not an async function that takes a context and ``call_next``.
        """
        self._registry.hooks.give(hook, AROUND)
        return hook

    def on_succeeded(self, handler: Succeeded) -> Succeeded:
        """Call ``handler`` with a ``RunSucceeded`` for each run that succeeds; see :func:`~.hooks.on_failed` for the guarantees."""
        self._registry.hooks.give(handler, RunState.SUCCEEDED)
        return handler

    def on_failed(self, handler: Failed) -> Failed:
        """Call ``handler`` with a ``RunFailed`` for each run that fails for good; see :func:`~.hooks.on_failed` for the guarantees."""
        self._registry.hooks.give(handler, RunState.FAILED)
        return handler

    def on_retrying(self, handler: Retrying) -> Retrying:
        """Call ``handler`` with a ``RunRetrying`` for each failed attempt that a retry follows; see :func:`~.hooks.on_failed`."""
        self._registry.hooks.give(handler, RunState.RETRYING)
        return handler

    def on_cancelled(self, handler: Cancelled) -> Cancelled:
        """Call ``handler`` with a ``RunCancelled`` for each cancelled run; see :func:`~.hooks.on_failed`."""
        self._registry.hooks.give(handler, RunState.CANCELLED)
        return handler

    def on_missed(self, handler: Missed) -> Missed:
        """Call ``handler`` with a ``RunMissed`` for each slot that passed without a run; see :func:`~.hooks.on_failed`."""
        self._registry.hooks.give(handler, RunState.MISSED)
        return handler

    def on_skipped(self, handler: Skipped) -> Skipped:
        """Call ``handler`` with a ``RunSkipped`` for each skipped slot; see :func:`~.hooks.on_failed`."""
        self._registry.hooks.give(handler, RunState.SKIPPED)
        return handler
