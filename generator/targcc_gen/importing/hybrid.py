"""Hybrid mode: the rows stay in ``c_Job``, and the project runs them from there. What is written are its settings."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from targcc_gen.errors import InputError
from targcc_gen.importing.project import SPEC_FILE, Arrival, spec_of
from targcc_gen.render.tree import Owner, Tree, TreeFile
from targcc_gen.sources.c_job.tables import Shape, shape_of
from targcc_gen.sources.model import Import
from targcc_gen.spec import Spec
from targcc_gen.sync import make_plan

ENV_FILE = ".env.example"
_URL = "TARGCC_LEGACY_URL=mssql://user:password@server/database"
_NOTE = "# Hybrid mode: these jobs stay in the old table c_Job and run from there"


def check_mode(result: Import) -> None:
    """Refuse what hybrid mode cannot run.

    Raises:
        InputError: The table is of TARGCC 4, whose rows name no procedure, or its cron texts are not Cronos's.
    """
    if result.options.dialect != "cronos":
        raise InputError(
            f"--mode hybrid reads the cron texts where they are, as Cronos does; not as {result.options.dialect}",
            hint="Without --mode hybrid the import translates them.",
        )
    for job in result.all_jobs:
        if shape_of(job.row.values.keys()) is Shape.CLASSIC:
            raise InputError(
                f"{job.row.place}: --mode hybrid needs rows with CronExpression and StoredProcName; this is a c_Job of TARGCC 4",
                hint="Without --mode hybrid its rows become jobs of the project.",
            )


def new_hybrid_project(result: Import, root: Path, render: Callable[[Spec, str], Tree]) -> Arrival:
    """Plan a new project that runs the rows where they are; the arguments are those of ``new_project``."""
    from targcc_gen.spec import dump_spec

    check_mode(result)
    spec = spec_of(result, root, {})
    zone = result.options.zone.key
    text = "\n".join([dump_spec(spec), *_notes(result)]) + "\n"
    files = (
        (
            replace(file, content=with_settings(file.content.decode(), zone).encode())
            if file.path == ENV_FILE
            else file
        )
        for file in render(spec, text)
    )
    return Arrival(make_plan(Tree.of(files), root))


def join_hybrid_project(result: Import, root: Path, text: str) -> Arrival:
    """Plan the settings, and a note in the spec, into a project that is there.

    Args:
        result: The end of every row.
        root: The project's folder.
        text: The project's spec.
    """
    check_mode(result)
    env = root / ENV_FILE
    before = env.read_bytes().decode() if env.exists() else None
    after = with_settings(before or "", result.options.zone.key)
    files = [_edited(ENV_FILE, before, after)]
    if _NOTE not in text:
        files.append(_edited(SPEC_FILE, text, "\n".join([text, *_notes(result)]) + "\n"))
    changed = [file for file in files if file.content != file.replaces]
    return Arrival(make_plan(Tree.of(changed, complete=False), root))


def with_settings(text: str, zone: str) -> str:
    """An ``.env.example`` that says where the table is; settings that somebody made stay.

    Args:
        text: The file.
        zone: The old server's zone.
    """
    for line in (_URL, f"TARGCC_LEGACY_TIMEZONE={zone}"):
        name = line.partition("=")[0]
        if re.search(rf"^{name}=", text, re.MULTILINE):
            continue
        text, found = re.subn(rf"^#\s*{name}=.*$", line, text, count=1, flags=re.MULTILINE)
        if not found:
            text = f"{text.rstrip()}\n{line}\n".lstrip("\n")
    return text


def _notes(result: Import) -> Iterator[str]:
    yield f"{_NOTE}. TARGCC_LEGACY_URL in .env says where it is;"
    yield "# change them there. A job of the same name in this file goes before the row: then set its IsActive to 0."
    for job in result.all_jobs:
        line = f"{job.stable_name}: {job.old.schedule_text} {job.spec.procedure or ''}"
        yield "#   " + "".join(c if c.isprintable() else " " for c in line).rstrip()


def _edited(path: str, before: str | None, after: str) -> TreeFile:
    replaces = None if before is None else before.encode()
    return TreeFile(path, after.encode(), Owner.SCAFFOLD, replaces=replaces)
