"""What joining a project comes to, and what a person said about it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace

from targcc_gen.importing.base import BASE_FILE, Base, BaseRow, plain
from targcc_gen.importing.changes import Choices, Kind, RowChange
from targcc_gen.render.tree import Owner
from targcc_gen.sources.model import Import, ImportedJob
from targcc_gen.spec import JobSpec, QueueSpec, job_values
from targcc_gen.sync import Action, Change, Plan

SPEC_FILE = "targcc.yaml"


@dataclass(frozen=True, slots=True)
class Request:
    """What a person said about an import into a project.

    Attributes:
        choices: Which side counts where both changed something.
        source: The name of the old table; None: the only one that is known.
        partial: Whether the export has only some of its rows, so that the others are not gone.
        accept_rejected: Whether rows that can be no job are accepted as such.
        paused: Whether jobs that are new here arrive paused, whatever their rows say; the base has what the rows say.
        scheduler: How a new project has the scheduler; None: as any project that does not say.
    """

    choices: Choices = field(default_factory=Choices)
    source: str | None = None
    partial: bool = False
    accept_rejected: bool = False
    paused: bool = False
    scheduler: str | None = None

    def arriving(self, spec: JobSpec) -> JobSpec:
        """A new job as it arrives."""
        return spec.model_copy(update={"paused": True}) if self.paused else spec


@dataclass(frozen=True, slots=True)
class Arrival:
    """What joining a project comes to.

    Attributes:
        plan: What happens to its files.
        rows: What became of each row; of a new project's none.
        accepted: How many rejected rows a person has accepted, now or earlier.
    """

    plan: Plan
    rows: tuple[RowChange, ...] = ()
    accepted: int = 0

    @property
    def conflicts(self) -> tuple[RowChange, ...]:
        """The rows that a person has to decide about."""
        return tuple(row for row in self.rows if row.kind is Kind.CONFLICT)

    def having(self, kind: Kind) -> tuple[RowChange, ...]:
        """The rows of one kind."""
        return tuple(row for row in self.rows if row.kind is kind)


def queues_of(result: Import, used: Collection[str | None]) -> dict[str, QueueSpec]:
    """The queues of old runners that are used: what holds for all nodes together holds for each."""
    return {
        name: QueueSpec(workers=count, concurrency=count)
        for name, count in result.queues.items()
        if name in used
    }


def base_row(source: str, row: str, job: ImportedJob) -> BaseRow:
    """A row as this import leaves it."""
    theory = plain(job_values(job.theory)) if job.theory else {}
    return BaseRow(source, row, job.old.name, job.key, plain(job_values(job.spec)), theory)


def with_base(plan: Plan, base: Base) -> Plan:
    """The plan, and the base beside it: a file of the generator's own, as the lock is."""
    path = plan.root / BASE_FILE
    before = path.read_bytes() if path.is_file() else None
    after = base.dump().encode()
    if before is not None and before.replace(b"\r\n", b"\n") == after:
        return plan
    action = Action.CREATE if before is None else Action.UPDATE
    reason = "what the old server says, for the next import"
    change = Change(BASE_FILE, action, reason, Owner.MANAGED, before, after)
    changes = sorted([*plan.changes, change], key=lambda one: one.path)
    return replace(plan, changes=tuple(changes))
