"""Registry of the process's jobs: discovered, registered by hand, or from outside the code."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from ...core.errors import UnknownJob
from ...core.states import RunState
from ...features.overrides.effective import effective
from ...features.overrides.model import Override
from ...project import Project, current
from .declaration import Declaration
from .definition import JobDefinition
from .discovery import BrokenModule, Discovered, check, discover, discover_more
from .hooks import AROUND, A, Cancelled, Failed, Hooks, Missed, Retrying, Skipped, Succeeded

# The jobs of this process: those that discovery finds, those that are registered by hand, and those from outside the code.

JobRef = str | JobDefinition | Callable[..., Any]
"""A job by name, definition, class or function."""


class JobRegistry:
    """The jobs by name. The jobs package is imported when they are first asked for, in the thread that asks.

    Args:
        package: Where the jobs are, such as ``acme_jobs.jobs``.
        more: Adds the jobs from outside the code, once those of the package are known.
        project: Whose defaults hold for what a job leaves open. Default: the project of this process.
    """

    def __init__(
        self,
        package: str,
        more: Callable[[JobRegistry], None] | None = None,
        project: Project | None = None,
    ) -> None:
        self.hooks = Hooks()
        """The hooks: once the jobs are known also those that were found with them."""
        self._package = package
        self._more = more
        self._project = project
        self._lock = threading.RLock()
        self._discovered: Discovered | None = None
        self._external: set[str] = set()
        self._completed: dict[int, tuple[Declaration, JobDefinition]] = {}
        self._external_broken: list[BrokenModule] = []
        self._overrides: dict[str, tuple[Override, ...]] = {}
        self._effective: dict[str, tuple[JobDefinition, tuple[Override, ...], JobDefinition]] = {}
        self._definitions: dict[str, JobDefinition] = {}
        """The jobs with what people have changed: what everybody gets. ``_discovered`` has them as their code does."""

    @property
    def definitions(self) -> Mapping[str, JobDefinition]:
        """The jobs by name; the mapping changes when jobs are registered or replaced."""
        self._found()
        return self._definitions

    @property
    def own(self) -> list[JobDefinition]:
        """The jobs that are in the code, as they are there."""
        definitions = self._found().definitions
        return [job for name, job in list(definitions.items()) if name not in self._external]

    @property
    def broken(self) -> Sequence[BrokenModule]:
        """The job files that could not be used."""
        return [*self._found().broken, *self._external_broken]

    def find(self, job: JobRef) -> JobDefinition:
        """A job by its name (in any case, with or without ``Job``), earlier name, display name, class or function.

        Raises:
            UnknownJob: there is none.
        """
        if isinstance(job, JobDefinition):
            return job
        if not isinstance(job, str):
            return self._find_by_mark(job)
        return self._find_by_name(job)

    def broken_file_of(self, name: str) -> BrokenModule | None:
        """Return the file that declares a job of this name and cannot be imported; ``None`` if there is none, or the job is known."""
        wanted = _folded(name)
        if not wanted or name in self.definitions:
            return None
        return next(
            (one for one in self.broken if wanted in {_folded(said) for said in one.names()}), None
        )

    def key_of(self, name: str) -> str:
        """The key of a job by any name that :meth:`find` takes; a name that is not in the code any more stays as it is."""
        try:
            return self.find(name).name
        except UnknownJob:
            return name

    def add(self, definition: JobDefinition) -> None:
        """Register a job by hand.

        Raises:
            JobError: it runs by itself and needs arguments.
            ValueError: the name is taken.
        """
        check(definition)
        definitions = self._found().definitions
        known = definitions.get(definition.name)
        if known is not None and known.target is not definition.target:
            raise ValueError(f"the job name {definition.name!r} is taken by {known.module}")
        definitions[definition.name] = definition
        self._hold(definition.name)

    def override(self, overrides: Iterable[Override]) -> set[str]:
        """Let these overrides hold, and no others; the names of the jobs that have changed by that."""
        with self._lock:
            before, self._overrides = self._overrides, {}
            for one in overrides:
                self._overrides[one.job] = (*self._overrides.get(one.job, ()), one)
            changed = {
                name
                for name in before.keys() | self._overrides.keys()
                if before.get(name) != self._overrides.get(name)
            }
            if self._discovered is not None:
                self._hold(*changed)
            return changed

    def _hold(self, *names: str) -> None:
        """Bring what everybody gets of these jobs up to date."""
        found = self._found().definitions
        touched = {*names, *(one for name in names if name in found for one in found[name].after)}
        following: dict[str, list[str]] = {}
        for job in found.values():
            for one in job.after:
                following.setdefault(one, []).append(job.name)
        for name in touched:
            if name in found:
                changed = self._changed(found[name])
                if name in following:
                    changed = replace(changed, followers=partial(self._some, following[name]))
                self._definitions[name] = changed
            else:
                self._definitions.pop(name, None)

    def _some(self, names: Sequence[str]) -> list[JobDefinition]:
        return [self._definitions[name] for name in names if name in self._definitions]

    def _changed(self, definition: JobDefinition) -> JobDefinition:
        overrides = self._overrides.get(definition.name)
        if not overrides:
            return definition
        made = self._effective.get(definition.name)
        if made is None or made[0] is not definition or made[1] != overrides:
            whole = effective(definition, overrides, self._project or current())
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
        """Replace the jobs that come from outside the code; a job in the code wins over one of the same name.

        Args:
            source: Where they come from, for messages.
            jobs: The jobs by name.
            broken: What could not be used there.
            if_taken: What to do about a job whose name a job in the code has.

        Returns:
            The names that are gone, and those that are new or differ from before.
        """
        with self._lock:
            definitions = self._found().definitions
            mine = {_folded(n): job for n, job in definitions.items() if n not in self._external}
            kept = {name: job for name, job in jobs.items() if _folded(name) not in mine}
            taken = [
                _taken(f'{source} "{name}"', mine[_folded(name)], if_taken)
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
        """Report that the jobs from outside the code cannot be read now; they stay as they are."""
        with self._lock:
            self._external_broken = [broken]

    def look_again(self) -> None:
        """Import the job files that have been added since the package was imported."""
        found = self._found()
        with self._lock:
            discover_more(self._package, found)
            self._hold(*(found.definitions.keys() - self._definitions.keys()))

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
        known = self.definitions.get(mark.name)  # all of them: others may follow it
        if known is not None and known.target is mark.target:
            return known
        if id(mark) not in self._completed:  # once: it makes a model of the job's arguments
            self._completed[id(mark)] = mark, mark.complete(self._project or current())
        return self._changed(self._completed[id(mark)][1])

    def _find_by_name(self, text: str) -> JobDefinition:
        definitions = self.definitions
        if text in definitions:
            return definitions[text]
        for definition in list(definitions.values()):
            if text in definition.aliases or _folded(text) in {
                _folded(definition.name),
                _folded(definition.display_name),
            }:
                return definition
        from difflib import get_close_matches  # a worker does without it

        near = get_close_matches(text, definitions, n=1)
        hint = f": did you mean {near[0]!r}?" if near else ""
        raise UnknownJob(f"there is no job {text!r}{hint}")


def _taken(place: str, by: JobDefinition, if_taken: str) -> BrokenModule:
    text = f"the name is taken by {by.module}: {if_taken}"
    return BrokenModule(place, None, text, text)


def _folded(name: str) -> str:
    return "".join(filter(str.isalnum, name)).casefold().removesuffix("job")


# Hooks of a scheduler that an application has made: for functions that are not in the jobs package.


class Hooked:
    """What :class:`~...scheduler.Scheduler` has for hooks; each may be used as a decorator, before the scheduler starts."""

    _registry: JobRegistry

    @property
    def hooks(self) -> Hooks:
        """The hooks of this process; the jobs package is imported at the first look."""
        self._registry.definitions  # noqa: B018 - the hooks are found with the jobs
        return self._registry.hooks

    def around(self, hook: A) -> A:
        """Run ``hook`` around each attempt, outside those of the jobs package; see :func:`~.around.around`.

        For jobs with ``isolation="process"`` it has to stand at the top of a module, which their processes import.
        """
        self._registry.hooks.give(hook, AROUND)
        return hook

    def on_succeeded(self, handler: Succeeded) -> Succeeded:
        """Call ``handler`` with each run that has succeeded; see :func:`~.events.on_failed`, as for the others."""
        self._registry.hooks.give(handler, RunState.SUCCEEDED)
        return handler

    def on_failed(self, handler: Failed) -> Failed:
        """Call ``handler`` with each run that has failed for good."""
        self._registry.hooks.give(handler, RunState.FAILED)
        return handler

    def on_retrying(self, handler: Retrying) -> Retrying:
        """Call ``handler`` with each attempt that has failed and will be followed by another."""
        self._registry.hooks.give(handler, RunState.RETRYING)
        return handler

    def on_cancelled(self, handler: Cancelled) -> Cancelled:
        """Call ``handler`` with each run that was cancelled."""
        self._registry.hooks.give(handler, RunState.CANCELLED)
        return handler

    def on_missed(self, handler: Missed) -> Missed:
        """Call ``handler`` with each slot that has passed without a run."""
        self._registry.hooks.give(handler, RunState.MISSED)
        return handler

    def on_skipped(self, handler: Skipped) -> Skipped:
        """Call ``handler`` with each slot that was skipped."""
        self._registry.hooks.give(handler, RunState.SKIPPED)
        return handler
