"""Drafts of jobs, and their names in the project, for any old scheduler."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import ValidationError
from targcc_scheduler.features.flows.graph import On

from targcc_gen.names import MAX_LENGTH, JobName
from targcc_gen.readers.rows import Row
from targcc_gen.sources.model import (
    SECOND,
    Import,
    ImportedJob,
    OldJob,
    Options,
    Rejection,
)
from targcc_gen.spec import FlowStepSpec, JobSpec, Spec


@dataclass(frozen=True, slots=True)
class Draft:
    """A row that can become a job, without a key yet.

    Attributes:
        row: The row.
        name: The stable name: the job's name in the old tables.
        fields: ``JobSpec`` fields, without names.
        active: Whether the job is created active; if not, paused.
        old: The old row for people.
        warnings: Notes for the owner.
        follows: The name of the draft that this job comes after.
        steps: The steps of a flow: step, name of its draft, earlier steps, and how these must end; None for a job.
    """

    row: Row
    name: str
    fields: Mapping[str, object]
    active: bool
    old: OldJob
    warnings: tuple[str, ...] = ()
    follows: str = ""
    steps: tuple[tuple[str, str, tuple[str, ...], On], ...] | None = None


class Refused(Exception):  # noqa: N818 - a row's end, not a fault
    """Refusal of a row that can be no job; the text is the reason."""


_OF_SLOTS = ("overlap", "misfire")
"""Fields of jobs with a schedule."""


class Naming:
    """Convert drafts to jobs: each job gets a unique key and keeps its old name as the stable name."""

    def __init__(
        self, drafts: Sequence[Draft], options: Options, project: Spec | None, result: Import
    ) -> None:
        self._drafts = drafts
        self._options = options
        self._project = project
        self._result = result
        self._keys: set[str] = set()
        self._key_of: dict[str, str] = {}
        self._existing = _names_in(project)
        self._names = self._stable_names()

    def add_jobs(self) -> None:
        """Add each job to the result: to its active or inactive jobs, or to its second schedules. Reject drafts that are not valid in a spec."""
        for draft, name in zip(self._drafts, self._names, strict=True):
            job = self._job(draft, name)
            if job is None:
                continue
            for warning in draft.warnings:
                self._result.warnings.add(draft.row.place, f'"{name}": {warning}')
            active = self._result.jobs if draft.active else self._result.inactive
            is_second = (draft.old.id or "").endswith(SECOND)
            (self._result.second if is_second else active).append(job)

    def _stable_names(self) -> list[str]:
        taken: set[str] = set()
        names = []
        for draft in self._drafts:
            base = " ".join("".join(c if c.isprintable() else " " for c in draft.name).split())
            name, number = base[:MAX_LENGTH], 1
            while name.casefold() in taken:
                number += 1
                name = f"{base[: MAX_LENGTH - len(str(number)) - 3]} ({number})"
            if number > 1:
                text = f'a second job is called "{base}": it becomes "{name}"'
                self._result.warnings.add(draft.row.place, text)
            taken.add(name.casefold())
            names.append(name)
        return names

    def _key(self, name: str, identity: str | None) -> str:
        """Return a key that is no other job's key or stable name. A job of the project with this name keeps its key."""
        if name.casefold() in self._existing:
            return self._existing[name.casefold()]
        others = [other for other in self._names if other != name]
        text = f"Job {identity}" if identity and not is_spelled(name) else name
        return JobName.from_text(text, taken={*others, *self._keys, *self._existing}).key

    def _job(self, draft: Draft, name: str) -> ImportedJob | None:
        key = self._key(name, draft.old.id)
        values = dict(draft.fields)
        if not any(schedule in values for schedule in ("cron", "every", "at")):  # it has no slots
            values = {name: value for name, value in values.items() if name not in _OF_SLOTS}
        if draft.follows:
            values["after"] = (self._key_of[draft.follows],)
        if name != key and draft.steps is None:  # a flow is known by its key
            values["name"] = name
        if name not in {key, JobName(key).display}:
            values["display_name"] = name
        if not draft.active:
            values["paused"] = True
        if self._project is not None and self._project.defaults.timeout is not None:
            values.setdefault("timeout", "none")
        zone = self._options.zone.key
        if (
            self._project is not None
            and "type" not in values
            and zone != self._project.project.timezone
        ):
            values.setdefault("timezone", zone)
        try:
            spec = JobSpec.model_validate(values)
            steps = None if draft.steps is None else self._steps(draft.steps)
            job = ImportedJob(key, spec, draft.row, draft.old, draft.warnings, steps=steps)
        except ValidationError as error:
            reason = "; ".join(str(detail["msg"]) for detail in error.errors())
            self._result.rejected.append(
                Rejection(draft.row.file, draft.row.line, reason, draft.name, draft.old.id)
            )
            return None
        self._keys.add(key)
        self._key_of[draft.name] = key
        return job

    def _steps(
        self, steps: Sequence[tuple[str, str, tuple[str, ...], On]]
    ) -> dict[str, FlowStepSpec]:
        return {
            step: FlowStepSpec(job=self._key_of[name], after=after, on=on)
            for step, name, after, on in steps
        }


_ABJADS = re.compile(r"[\u0590-\u05ff\u0600-\u06ff\u0700-\u074f]")
"""Letters of scripts that leave vowels out: Hebrew, Arabic, Syriac. In Latin letters their words cannot be read."""


def is_spelled(name: str) -> bool:
    """Return whether a name can be read when its letters become Latin letters. If not, the key is ``Job247``, for the id 247."""
    return not _ABJADS.search(name)


def _names_in(project: Spec | None) -> dict[str, str]:
    """Map the project's keys and stable names, in lower case, to keys."""
    if project is None:
        return {}
    names = {key.casefold(): key for key in project.jobs}
    return names | {project.stable_name(key).casefold(): key for key in project.jobs}
