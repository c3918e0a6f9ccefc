"""Import jobs into a new project, or leave the rows in ``c_Job`` and run the rows from there."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from targcc_gen.errors import FolderTakenError, ImportMismatchError
from targcc_gen.importing.base import Base, BaseRow
from targcc_gen.importing.changes import SPEC_FILE, Arrival, Request, base_row, queues_of, with_base
from targcc_gen.importing.matching import matched, source_of
from targcc_gen.render.tree import Owner, Tree, TreeFile
from targcc_gen.sources.model import Import
from targcc_gen.spec import FlowSpec, JobSpec, Spec, dump_spec
from targcc_gen.sync import make_plan

# A new project.

_FEW = 10
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9._-]+")


def new_project(
    result: Import,
    root: Path,
    render: Callable[[Spec, str], Tree],
    request: Request | None = None,
) -> Arrival:
    """Plan a new project with all the jobs.

    Args:
        result: The outcome of every row.
        root: The project's folder.
        render: Returns the tree for a spec and its text.
        request: The user's options.

    Raises:
        InputError: The folder is a project already or holds files, no row became a job, or the jobs make no valid spec.
    """
    request = request or Request()
    steps = result.in_flows
    jobs = {
        job.key: job.spec if job.key in steps else request.arriving(job.spec)
        for job in result.all_jobs
        if job.flow is None
    }
    flows = request.arriving_flows(result.all_jobs)
    spec = spec_of(result, root, jobs, request, flows)
    source = source_of(Base(), request.source, result.tables.main_shown)
    rows = matched(result, Base(), source, None)
    kept = [base_row(source, row.row, row.job) for row in rows if row.job]
    accepted = [
        BaseRow(source, row.row, row.rejection.name, rejected=row.rejection.reason)
        for row in rows
        if row.rejection and request.accept_rejected
    ]
    plan = make_plan(render(spec, dump_spec(spec)), root)
    base = Base().with_source(source, [*kept, *accepted])
    return Arrival(with_base(plan, base), accepted=len(accepted))


def spec_of(
    result: Import,
    root: Path,
    jobs: Mapping[str, JobSpec],
    request: Request,
    flows: Mapping[str, FlowSpec] | None = None,
) -> Spec:
    """Build the spec of a new project.

    Args:
        result: The outcome of every row.
        root: The project's folder; its name becomes the project's name.
        jobs: The project's jobs.
        request: The user's options: scheduler and database of the project.
        flows: The project's flows.

    Raises:
        InputError: As for :func:`new_project`.
    """
    _refuse(root)
    if not result.all_jobs:
        reasons = [
            f"{rejection.file}:{rejection.line}: {rejection.reason}"
            for rejection in result.rejected[:_FEW]
        ]
        raise ImportMismatchError(
            "\n".join([f"no row of {result.tables.main_shown} can become a job:", *reasons]),
            hint="Nothing was written.",
        )
    name = _NOT_IN_A_NAME.sub("-", root.resolve().name).strip("-._") or "jobs"
    project = {"name": name, "timezone": result.options.zone.key}
    used = {job.queue for job in jobs.values()}
    options = {"scheduler": request.scheduler, "database": request.database}
    way: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    if flows:
        way["flows"] = flows
    return _checked(targcc=1, project=project, queues=queues_of(result, used), jobs=jobs, **way)


def _refuse(root: Path) -> None:
    if (root / SPEC_FILE).exists():
        hint = f"Add the jobs to it with --into {root}"
        raise FolderTakenError(f"{root} is a project already", hint=hint)
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        hint = "Name a folder that does not exist yet."
        raise FolderTakenError(f"{root} is there already and not empty", hint=hint)


def _checked(**fields: Any) -> Spec:
    from pydantic import ValidationError

    try:
        return Spec.model_validate(fields)
    except ValidationError as error:
        reasons = "; ".join(str(detail["msg"]) for detail in error.errors())
        raise ImportMismatchError(f"the imported jobs make no spec: {reasons}") from None


# Hybrid mode: the rows stay in ``c_Job``, and only settings are written.

ENV_FILE = ".env.example"
_URL = "TARGCC_LEGACY_URL={}://user:password@server/database"
_NOTE = "# Hybrid mode: these jobs stay in the old table c_Job and run from there"


def check_mode(result: Import) -> None:
    """Check that hybrid mode can run the rows.

    Raises:
        InputError: The cron dialect is not Cronos.
    """
    if result.options.dialect != "cronos":
        raise ImportMismatchError(
            f"--mode hybrid reads the cron texts where they are, as Cronos does; not as {result.options.dialect}",
            hint="Without --mode hybrid the import translates them.",
        )


def new_hybrid_project(
    result: Import, root: Path, render: Callable[[Spec, str], Tree], request: Request | None = None
) -> Arrival:
    """Plan a new project that runs the rows from ``c_Job``; the arguments are those of ``new_project``."""
    check_mode(result)
    spec = spec_of(result, root, {}, request or Request())
    settings = _settings(result)
    text = "\n".join([dump_spec(spec), *_notes(result)]) + "\n"
    files = (
        (
            replace(file, content=with_settings(file.content.decode(), settings).encode())
            if file.path == ENV_FILE
            else file
        )
        for file in render(spec, text)
    )
    return Arrival(make_plan(Tree.of(files), root))


def join_hybrid_project(result: Import, root: Path, text: str) -> Arrival:
    """Plan the settings for an existing project, and a note in its spec.

    Args:
        result: The outcome of every row.
        root: The project's folder.
        text: The project's spec.
    """
    check_mode(result)
    env = root / ENV_FILE
    before = env.read_bytes().decode() if env.exists() else None
    after = with_settings(before or "", _settings(result))
    files = [_edited(ENV_FILE, before, after)]
    if _NOTE not in text:
        files.append(_edited(SPEC_FILE, text, "\n".join([text, *_notes(result)]) + "\n"))
    changed = [file for file in files if file.content != file.replaces]
    return Arrival(make_plan(Tree.of(changed, complete=False), root))


def database_of(result: Import) -> str:
    """Return the kind of the old database, which is also the name of the extra that has its driver: SQL Server for files."""
    return "postgresql" if any(file.kind == "PostgreSQL" for file in result.files) else "mssql"


def _settings(result: Import) -> list[str]:
    lines = [_URL.format(database_of(result)), f"TARGCC_LEGACY_TIMEZONE={result.options.zone.key}"]
    if result.options.weekly != "every-day":
        lines.append(f"TARGCC_LEGACY_WEEKLY={result.options.weekly}")
    if result.options.procedures:
        lines.append(f"TARGCC_LEGACY_PROCEDURES={json.dumps(dict(result.options.procedures))}")
    return lines


def with_settings(text: str, settings: Iterable[str]) -> str:
    """Add settings to an ``.env.example``; keep settings that are already set.

    Args:
        text: The file's text.
        settings: Lines ``NAME=value``.
    """
    for line in settings:
        name = line.partition("=")[0]
        if re.search(rf"^{name}=", text, re.MULTILINE):
            continue
        text, count = re.subn(
            rf"^#\s*{name}=.*$", line.replace("\\", r"\\"), text, count=1, flags=re.MULTILINE
        )
        if not count:
            text = f"{text.rstrip()}\n{line}\n".lstrip("\n")
    return text


def _notes(result: Import) -> Iterator[str]:
    yield f"{_NOTE}. TARGCC_LEGACY_URL in .env says where it is;"
    yield "# change them there. A job of the same name in this file goes before the row: then set its IsActive to 0 (TARGCC 4: Active)."
    for job in result.all_jobs:
        line = f"{job.stable_name}: {job.old.schedule_text} {job.spec.procedure or ''}"
        yield "#   " + "".join(c if c.isprintable() else " " for c in line).rstrip()


def _edited(path: str, before: str | None, after: str) -> TreeFile:
    replaces = None if before is None else before.encode()
    return TreeFile(path, after.encode(), Owner.SCAFFOLD, replaces=replaces)
