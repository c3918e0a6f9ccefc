"""Hybrid mode: the rows stay in ``c_Job``, and the project runs them from there. What is written are its settings."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from targcc_gen.errors import InputError
from targcc_gen.importing.arrival import SPEC_FILE, Arrival, Request
from targcc_gen.importing.project import spec_of
from targcc_gen.render.tree import Owner, Tree, TreeFile
from targcc_gen.sources.model import Import
from targcc_gen.spec import Spec
from targcc_gen.sync import make_plan

ENV_FILE = ".env.example"
_URL = "TARGCC_LEGACY_URL=mssql://user:password@server/database"
_NOTE = "# Hybrid mode: these jobs stay in the old table c_Job and run from there"


def check_mode(result: Import) -> None:
    """Refuse what hybrid mode cannot run.

    Raises:
        InputError: The cron texts are not Cronos's.
    """
    if result.options.dialect != "cronos":
        raise InputError(
            f"--mode hybrid reads the cron texts where they are, as Cronos does; not as {result.options.dialect}",
            hint="Without --mode hybrid the import translates them.",
        )


def new_hybrid_project(
    result: Import, root: Path, render: Callable[[Spec, str], Tree], request: Request | None = None
) -> Arrival:
    """Plan a new project that runs the rows where they are; the arguments are those of ``new_project``."""
    from targcc_gen.spec import dump_spec

    check_mode(result)
    spec = spec_of(result, root, {}, request.scheduler if request else None)
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
    """Plan the settings, and a note in the spec, into a project that is there.

    Args:
        result: The end of every row.
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


def _settings(result: Import) -> list[str]:
    lines = [_URL, f"TARGCC_LEGACY_TIMEZONE={result.options.zone.key}"]
    if result.options.weekly != "every-day":
        lines.append(f"TARGCC_LEGACY_WEEKLY={result.options.weekly}")
    if result.options.procedures:
        lines.append(f"TARGCC_LEGACY_PROCEDURES={json.dumps(dict(result.options.procedures))}")
    return lines


def with_settings(text: str, settings: Iterable[str]) -> str:
    """An ``.env.example`` that says where the table is; settings that somebody made stay.

    Args:
        text: The file.
        settings: Lines ``NAME=value``.
    """
    for line in settings:
        name = line.partition("=")[0]
        if re.search(rf"^{name}=", text, re.MULTILINE):
            continue
        text, found = re.subn(
            rf"^#\s*{name}=.*$", line.replace("\\", r"\\"), text, count=1, flags=re.MULTILINE
        )
        if not found:
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
