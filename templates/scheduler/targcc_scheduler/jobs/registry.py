"""The jobs of this process: those that discovery finds, and those that are registered by hand."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from ..core.errors import UnknownJob
from .definition import JobDefinition
from .discovery import BrokenModule, Discovered, check, discover, discover_more

JobRef = str | JobDefinition | Callable[..., Any]
"""A job by name, definition, class or function."""


class JobRegistry:
    """The jobs by name. The jobs package is imported at the first look, in whichever thread that is.

    Args:
        package: Where the jobs are, such as ``acme_jobs.jobs``.
        more: Adds the jobs that come from elsewhere, once those of the package are known.
    """

    def __init__(self, package: str, more: Callable[[JobRegistry], None] | None = None) -> None:
        self._package = package
        self._more = more
        self._lock = threading.RLock()
        self._discovered: Discovered | None = None
        self._exchanged: set[str] = set()
        self._exchanged_broken: list[BrokenModule] = []

    @property
    def definitions(self) -> Mapping[str, JobDefinition]:
        """The jobs by name; it grows when one is registered by hand."""
        return self._found().definitions

    @property
    def broken(self) -> Sequence[BrokenModule]:
        """The job files that could not be used."""
        return [*self._found().broken, *self._exchanged_broken]

    def find(self, job: JobRef) -> JobDefinition:
        """A job by its name (in any case, with or without ``Job``), display name, class or function.

        Raises:
            UnknownJob: there is none.
        """
        if isinstance(job, JobDefinition):
            return job
        if not isinstance(job, str):
            definition = getattr(job, "__job__", None)
            if isinstance(definition, JobDefinition):
                return definition
            raise UnknownJob(f"{getattr(job, '__qualname__', job)} is not a job: it has no @job")
        return self._find_by_name(job)

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

    def exchange(
        self, jobs: Mapping[str, JobDefinition] | None, broken: Sequence[BrokenModule]
    ) -> tuple[set[str], set[str]]:
        """Let these be all the jobs that are kept outside the code; a job in the code goes before one of its name.

        Args:
            jobs: The jobs by name; ``None`` leaves them as they are.
            broken: What could not be used there.

        Returns:
            The names that are gone, and those that are new or differ from before.
        """
        with self._lock:
            definitions, troubles = self._found().definitions, list(broken)
            if jobs is None:
                self._exchanged_broken = troubles
                return set(), set()
            mine = {_folded(n): job for n, job in definitions.items() if n not in self._exchanged}
            kept = {name: job for name, job in jobs.items() if _folded(name) not in mine}
            troubles += [
                _taken(name, mine[_folded(name)]) for name in sorted(jobs.keys() - kept.keys())
            ]
            different = {name for name, job in kept.items() if definitions.get(name) is not job}
            gone = self._exchanged - kept.keys()
            for name in gone:
                del definitions[name]
            definitions.update(kept)
            self._exchanged, self._exchanged_broken = set(kept), troubles
            return gone, different

    def look_again(self) -> None:
        """Import the job files that have been added since the first look."""
        found = self._found()
        with self._lock:
            discover_more(self._package, found)

    def _found(self) -> Discovered:
        with self._lock:
            if self._discovered is None:
                self._discovered = discover(self._package)
                if self._more is not None:
                    self._more(self)
            return self._discovered

    def _find_by_name(self, text: str) -> JobDefinition:
        definitions = self.definitions
        if text in definitions:
            return definitions[text]
        for definition in list(definitions.values()):
            if _folded(text) in {_folded(definition.name), _folded(definition.display_name)}:
                return definition
        near = get_close_matches(text, definitions, n=1)
        hint = f": did you mean {near[0]!r}?" if near else ""
        raise UnknownJob(f"there is no job {text!r}{hint}")


def _taken(name: str, by: JobDefinition) -> BrokenModule:
    text = f"the name is taken by {by.module}: set IsActive = 0 if that job does the work now, else rename one"
    return BrokenModule(f'c_Job "{name}"', None, text, text)


def _folded(name: str) -> str:
    return "".join(filter(str.isalnum, name)).casefold().removesuffix("job")
