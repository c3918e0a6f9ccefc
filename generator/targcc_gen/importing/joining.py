"""Import rows into an existing project: changes of the old server, of the project, and of both."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from targcc_gen.importing.base import Base, BaseRow, FieldChange, merge, plain, same, split
from targcc_gen.importing.changes import (
    SPEC_FILE,
    Arrival,
    Kind,
    Request,
    RowChange,
    base_row,
    queues_of,
    values_of,
    with_base,
)
from targcc_gen.importing.matching import Matched, matched, source_of
from targcc_gen.render.tree import Owner, Tree, TreeFile
from targcc_gen.sources.model import Import, ImportedJob
from targcc_gen.spec import (
    JobSpec,
    Spec,
    add_flows,
    add_jobs,
    add_queues,
    build_job,
    change_jobs,
    job_values,
    parse_spec,
    remove_job,
)
from targcc_gen.sync import Action, Plan, Side, make_plan
from targcc_gen.sync.jobs.removed import with_record

_WRITTEN = ("procedure", "blueprint", "description", "params")
"""Values that a job's module has outside of its decorator."""
_FEWEST = 3
_JOB = "job"


def join_project(
    result: Import, root: Path, spec: Spec, text: str, request: Request | None = None
) -> Arrival:
    """Plan an import into an existing project.

    Args:
        result: The outcome of every row. Its jobs get their keys and names in the project.
        root: The project's folder.
        spec: The project's spec.
        text: The spec's text.
        request: The user's options.

    Raises:
        InputError: The rows are of another table, or a choice names no job.
    """
    request = request or Request()
    base = Base.load(root)
    source = source_of(base, request.source, result.tables.main_shown)
    rows = matched(result, base, source, spec)
    request.choices.check(
        [*spec.jobs, *(row.job.key for row in rows if row.job)],
        [row.job.old.name for row in rows if row.job],
    )
    joining = _Joining(result, root, spec, source, request, rows)
    return joining.arrival(text, base)


class _Joining:
    """An import into a project."""

    def __init__(  # noqa: PLR0917 - what one import is
        self,
        result: Import,
        root: Path,
        spec: Spec,
        source: str,
        request: Request,
        rows: list[Matched],
    ) -> None:
        self._result = result
        self._root = root
        self._spec = spec
        self._source = source
        self._request = request
        self._rows = rows
        self._added: dict[str, JobSpec] = {}
        self._flows: list[ImportedJob] = []
        self._changed: dict[str, tuple[JobSpec, bool]] = {}
        self._removed: list[str] = []
        self._after: list[BaseRow] = []
        self._accepted = 0
        self._many_gone = self._is_a_part()

    def arrival(self, text: str, base: Base) -> Arrival:
        """Return the plan, with the outcome of every row."""
        changes = [change for row in self._rows for change in self._row(row)]
        after = base.with_source(self._source, self._after)
        plan = with_base(self._plan(text), after)
        return Arrival(plan, tuple(changes), self._accepted)

    def _is_a_part(self) -> bool:
        """Return whether so many rows are missing that the export is probably a part of the table."""
        known = [row for row in self._rows if row.before and row.before.key]
        gone = [row for row in known if row.job is None and row.rejection is None]
        return len(gone) >= _FEWEST and len(gone) * 2 > len(known)

    # Rows.

    def _row(self, matched: Matched) -> Iterable[RowChange]:
        if matched.held and matched.before is not None:
            self._after.append(matched.before)
            return []
        if matched.job is not None and matched.job.flow is not None:
            return [self._flow(matched, matched.job)]
        if matched.job is not None and matched.before is not None:
            return [*self._known(matched, matched.job, matched.before)]
        if matched.job is not None:
            return [*self._unknown(matched, matched.job)]
        was_job = matched.before is not None and bool(matched.before.key)
        if matched.rejection is not None and not (matched.rejection.deleted and was_job):
            return [*self._rejected(matched)]
        return [*self._gone(matched)]

    def _unknown(self, matched: Matched, job: ImportedJob) -> Iterable[RowChange]:
        """Yield the outcome of a row that no import has seen: a new job, or a job that the project has already."""
        existing = self._spec.jobs.get(job.key)
        if existing is None:
            is_step = job.key in self._result.in_flows
            self._added[job.key] = job.spec if is_step else self._request.arriving(job.spec)
            self._after.append(base_row(self._source, matched.row, job))
            yield RowChange(Kind.ADDED, matched.row, job.key, job.old.name)
            return
        yield from self._merged(matched, job, None, existing)

    def _flow(self, matched: Matched, job: ImportedJob) -> RowChange:
        """Return the outcome of a row that is a flow. A flow of the project stays as it is; a change on the old server is named."""
        name, before, incoming = job.old.name, matched.before, values_of(job)
        self._after.append(base_row(self._source, matched.row, job))
        existing = self._spec.flows.get(job.key)
        if existing is None and job.key not in self._spec.jobs and before is None:
            self._flows.append(job)
            return RowChange(Kind.ADDED, matched.row, job.key, name)
        if existing is None:
            what = "a job of this name is here" if job.key in self._spec.jobs else "removed here"
            note = f"{what}: it stays so"
            return RowChange(Kind.LEFT_OUT, matched.row, job.key, name, note=note)
        if before is None:
            return RowChange(
                Kind.KEPT, matched.row, job.key, name, note="the project has this flow already"
            )
        if _differences(before.job, incoming):
            note = "its schedule or its steps changed there: change flows in targcc.yaml by hand"
            return RowChange(Kind.KEPT, matched.row, job.key, name, note=note)
        return RowChange(Kind.UNCHANGED, matched.row, job.key, name)

    def _known(self, matched: Matched, job: ImportedJob, before: BaseRow) -> Iterable[RowChange]:
        existing = self._spec.jobs.get(job.key)
        if existing is not None:
            yield from self._merged(matched, job, before, existing)
            return
        changed = _differences(before.job, plain(job_values(job.spec)))
        side = self._request.choices.of_field(job.key, job.old.name, _JOB)
        if changed and side is None:
            note = "removed here, changed there"
            yield RowChange(Kind.CONFLICT, matched.row, job.key, job.old.name, changed, note)
        elif side == "old":
            self._added[job.key] = self._request.arriving(job.spec)
            yield RowChange(
                Kind.ADDED, matched.row, job.key, job.old.name, note="it had been removed here"
            )
        else:
            note = "removed here: it stays so"
            yield RowChange(Kind.LEFT_OUT, matched.row, job.key, job.old.name, note=note)
        self._after.append(base_row(self._source, matched.row, job))

    def _merged(
        self, matched: Matched, job: ImportedJob, before: BaseRow | None, existing: JobSpec
    ) -> Iterable[RowChange]:
        here, incoming = plain(job_values(existing)), plain(job_values(job.spec))
        choices = self._request.choices

        def choose(part: str) -> str | None:
            return choices.of_field(job.key, job.old.name, part)

        def insist(part: str) -> str | None:
            return choices.named(job.key, job.old.name, part)

        merged = merge(before.job if before else None, here, incoming, choose, insist)
        self._after.append(self._based(matched, job, before, incoming))
        if merged.conflicts:
            note = "" if before else "the project has this job already"
            yield RowChange(
                Kind.CONFLICT, matched.row, job.key, job.old.name, merged.conflicts, note
            )
            return
        if merged.taken:
            whole = any(each.field.partition(".")[0] in _WRITTEN for each in merged.taken)
            self._changed[job.key] = build_job(job.key, merged.values), whole
        yield from self._changes_of(matched, job, merged.taken, merged.kept)

    def _based(
        self,
        matched: Matched,
        job: ImportedJob,
        before: BaseRow | None,
        incoming: Mapping[str, Any],
    ) -> BaseRow:
        """Return the row for the next base. An interval whose anchor only moved on keeps its former anchor."""
        now = base_row(self._source, matched.row, job)
        if before is None or _differences(before.job, incoming):
            return now
        theory = now.theory if job.seen else before.theory
        return replace(now, job=before.job, theory=theory)

    def _changes_of(
        self,
        matched: Matched,
        job: ImportedJob,
        taken: tuple[FieldChange, ...],
        kept: tuple[FieldChange, ...],
    ) -> Iterable[RowChange]:
        name = job.old.name
        rest = taken
        if matched.renamed and matched.before is not None:
            rest = tuple(each for each in rest if each.field != "display_name")
            note = f'"{matched.before.name}" is "{name}" now; it keeps its key and its history'
            yield RowChange(Kind.RENAMED, matched.row, job.key, name, note=note)
        for each in rest:
            if each.field == "paused":
                kind = Kind.SWITCHED_OFF if each.old else Kind.SWITCHED_ON
                note = "paused here too" if each.old else "not paused any more"
                yield RowChange(kind, matched.row, job.key, name, note=note)
        rest = tuple(each for each in rest if each.field != "paused")
        if rest:
            yield RowChange(Kind.CHANGED, matched.row, job.key, name, rest)
        if kept:
            yield RowChange(Kind.KEPT, matched.row, job.key, name, kept)
        if not taken and not kept and not matched.renamed:
            yield RowChange(Kind.UNCHANGED, matched.row, job.key, name)

    def _rejected(self, matched: Matched) -> Iterable[RowChange]:
        assert matched.rejection is not None
        reason, before = matched.rejection.reason, matched.before
        if before is not None and before.key:
            self._after.append(before)
            note = f"it can be no job now, and what is here stays: {reason}"
            yield RowChange(
                Kind.REJECTED, matched.row, before.key, matched.rejection.name, note=note
            )
            return
        known = before is not None and before.rejected == reason
        if known or self._request.accept_rejected:
            self._accepted += 1
            name = matched.rejection.name
            self._after.append(BaseRow(self._source, matched.row, name, rejected=reason))

    def _gone(self, matched: Matched) -> Iterable[RowChange]:
        """Yield the outcome of a row that is missing now: its job is removed, unless the project changed the job."""
        before = matched.before
        if before is None or not before.key:
            return
        if self._request.partial:
            self._after.append(before)
            return
        existing = self._spec.jobs.get(before.key)
        if existing is None and before.key in self._spec.flows:
            note = "gone there: take it out of flows in targcc.yaml, and repeat this"
            yield RowChange(Kind.KEPT, matched.row, before.key, before.name, note=note)
            return
        if existing is None:
            note = "gone there, and removed here"
            yield RowChange(Kind.REMOVED, matched.row, before.key, before.name, note=note)
            return
        problem = self._in_the_way(before, existing)
        side = self._request.choices.of_field(before.key, before.name, _JOB)
        if problem and side is None:
            self._after.append(before)
            yield RowChange(Kind.CONFLICT, matched.row, before.key, before.name, note=problem)
        elif side == "mine":
            note = "gone there; it stays here as a job of your own"
            yield RowChange(Kind.KEPT, matched.row, before.key, before.name, note=note)
        else:
            self._removed.append(before.key)
            gone = "deleted" if matched.rejection else "gone"
            yield RowChange(
                Kind.REMOVED, matched.row, before.key, before.name, note=f"{gone} there"
            )

    def _in_the_way(self, before: BaseRow, existing: JobSpec) -> str:
        """Return the reason that a job without a row needs a decision; empty to remove the job."""
        for name, flow in self._spec.flows.items():
            if before.key in {step.job for step in flow.steps.values()}:
                return (
                    f"gone there, and flow {name} runs it: take the flow out of targcc.yaml first"
                )
        if self._many_gone:
            return "most rows are gone: if the export has only some of them, say --partial"
        if edited := _differences(before.job, plain(job_values(existing))):
            return f"gone there, and you changed {', '.join(item.field for item in edited)} here"
        from targcc_gen.render import job_paths

        paths = job_paths(self._spec, before.key)
        plan = make_plan(Tree.of([], complete=False, removed=paths), self._root)
        kept = [item.path for item in plan.changes if item.action is Action.KEEP]
        return f"gone there, and you wrote in {kept[0]}" if kept else ""

    # Files.

    def _plan(self, text: str) -> Plan:
        from targcc_gen.render import job_paths, render_job

        after = text
        for key in self._removed:
            after = remove_job(after, key, SPEC_FILE)
        used = {job.queue for job in self._added.values()}
        used |= {job.queue for job, _ in self._changed.values()}
        after = add_queues(after, queues_of(self._result, used), SPEC_FILE)
        if self._changed:
            changed = {key: job for key, (job, _) in self._changed.items()}
            after = change_jobs(after, changed, SPEC_FILE)
        if self._added:
            after = add_jobs(after, self._added, SPEC_FILE)
        if self._flows:
            after = add_flows(after, self._request.arriving_flows(self._flows), SPEC_FILE)
        gone = [path for key in self._removed for path in job_paths(self._spec, key)]
        files: list[TreeFile] = []
        sides: dict[str, Side] = {}
        if after != text:
            whole = parse_spec(after, SPEC_FILE)
            files = [file for key in self._added for file in render_job(whole, key)]
            for key, (_, rewritten) in self._changed.items():
                rendered = render_job(whole, key)
                files += [replace(file, whole=rewritten) for file in rendered]
                side = self._request.choices.of_field(key, key, "")
                if side is not None:
                    chosen = Side.GENERATED if side == "old" else Side.MINE
                    sides |= dict.fromkeys([file.path for file in rendered], chosen)
            files.append(
                TreeFile(SPEC_FILE, after.encode(), Owner.SCAFFOLD, replaces=text.encode())
            )
        tree = Tree.of(files, complete=False, removed=gone)
        plan = make_plan(tree, self._root, sides=sides, retire=True)
        for key in self._removed:
            values = job_values(self._spec.jobs[key])
            plan = with_record(plan, key, values, job_paths(self._spec, key))
        return plan


def _differences(left: Mapping[str, Any], other: Mapping[str, Any]) -> tuple[FieldChange, ...]:
    """Return the fields in which two versions differ. ``mine`` stays None."""
    was, now = split(left), split(other)
    return tuple(
        FieldChange(name, was.get(name), None, now.get(name))
        for name in dict.fromkeys([*was, *now])
        if not same(name, was.get(name), now.get(name))
    )
