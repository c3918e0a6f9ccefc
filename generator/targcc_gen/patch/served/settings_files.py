"""What the files of a project say about its server: pyproject.toml, Procfile, Dockerfile, compose, gunicorn's settings, scripts."""

from __future__ import annotations

import ast
import json
import os
import re
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from targcc_gen.patch.app.candidates import python_files
from targcc_gen.patch.app.file import AppFile
from targcc_gen.patch.app.nodes import code_of, dotted
from targcc_gen.patch.app.source import Source, SourceError
from targcc_gen.patch.served.entry import (
    Entry,
    default_files,
    is_asgi_worker,
    of_path,
    read_command,
)

_SKIPPED = frozenset({"node_modules", "venv", "env", "build", "dist", "tests", "docs"})
_LARGEST = 1_000_000
_DEPTH = 2


def read_entries(root: Path) -> Iterator[Entry]:
    """Everything that a project's files say a server loads, the surest first."""
    files = sorted(_files(root, _DEPTH), key=lambda path: (len(path.parts), path.name))
    for read in _READERS:
        for path in files:
            yield from read(path, path.relative_to(root).as_posix())
    yield from _served_by_code(root)


def _files(folder: Path, depth: int) -> Iterator[Path]:
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.is_dir(follow_symlinks=False):
            if depth and not entry.name.startswith(".") and entry.name not in _SKIPPED:
                yield from _files(Path(entry.path), depth - 1)
        elif entry.is_file(follow_symlinks=False) and entry.stat().st_size <= _LARGEST:
            yield Path(entry.path)


def _pyproject(path: Path, shown: str) -> Iterator[Entry]:
    if path.name != "pyproject.toml":
        return
    try:
        found: dict[str, Any] = tomllib.loads(_text(path))
    except tomllib.TOMLDecodeError:
        return
    named = found.get("tool", {}).get("fastapi", {}).get("entrypoint")
    if isinstance(named, str) and ":" in named:
        module, _, name = named.partition(":")
        yield Entry(module, name, f"{shown}: [tool.fastapi]", folder=_folder(shown))


def _procfile(path: Path, shown: str) -> Iterator[Entry]:
    if path.name.startswith("Procfile"):
        for number, line in enumerate(_text(path).splitlines(), start=1):
            _, _, command = line.partition(":")
            yield from _given(read_command(command, f"{shown}:{number}"), shown)


def _dockerfile(path: Path, shown: str) -> Iterator[Entry]:
    if "dockerfile" not in path.name.lower():
        return
    commands: dict[str, tuple[int, list[str] | str]] = {}
    for number, line in _joined(_text(path)):
        word, _, rest = line.strip().partition(" ")
        if word.upper() in {"CMD", "ENTRYPOINT"}:
            commands[word.upper()] = (number, _docker_words(rest.strip()))
    start, command = commands.get("ENTRYPOINT"), commands.get("CMD")
    if start and command and isinstance(start[1], list) and isinstance(command[1], list):
        both = read_command([*start[1], *command[1]], f"{shown}:{command[0]}")
        yield from _given(both, shown)
        return
    for found in (command, start):
        if found:
            yield from _given(read_command(found[1], f"{shown}:{found[0]}"), shown)


def _joined(text: str) -> Iterator[tuple[int, str]]:
    """The lines of a Dockerfile with their numbers, continued ones as one."""
    kept, first = "", 0
    for number, line in enumerate(text.splitlines(), start=1):
        first = first if kept else number
        kept += line.rstrip().removesuffix("\\") + " "
        if not line.rstrip().endswith("\\"):
            yield first, kept
            kept = ""


def _docker_words(text: str) -> list[str] | str:
    try:
        found = json.loads(text)
    except ValueError:
        return text
    return [str(word) for word in found] if isinstance(found, list) else text


def _compose(path: Path, shown: str) -> Iterator[Entry]:
    if not re.fullmatch(r"(docker-)?compose[\w.-]*\.ya?ml", path.name):
        return
    import yaml

    text = _text(path)
    try:
        found = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError):
        return
    services = found.get("services") if isinstance(found, dict) else None
    for name, service in (services or {}).items():
        command = service.get("command") if isinstance(service, dict) else None
        if isinstance(command, list):
            command = [str(word) for word in command]
        if isinstance(command, str | list):
            yield from _given(read_command(command, f"{shown}: services.{name}"), shown)


def _gunicorn(path: Path, shown: str) -> Iterator[Entry]:
    """`wsgi_app` and `worker_class` of gunicorn's settings, which are a Python file."""
    if path.suffix != ".py" or "gunicorn" not in path.name:
        return
    try:
        module = ast.parse(_text(path))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    said = {
        node.targets[0].id: node.value.value
        for node in module.body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Constant)
    }
    named = said.get("wsgi_app")
    if isinstance(named, str) and (entry := read_command(["uvicorn", named], shown)):
        asgi = is_asgi_worker(str(said.get("worker_class", "")))
        yield Entry(entry.module, entry.name, shown, entry.factory, wsgi=not asgi)


def _script(path: Path, shown: str) -> Iterator[Entry]:
    if path.suffix in {".sh", ".service"} or path.name in {"Makefile", "justfile"}:
        for number, line in _joined(_text(path)):
            command = line.partition("ExecStart=")[2] or line
            yield from _given(read_command(command, f"{shown}:{number}"), shown)


_READERS: Sequence[Callable[[Path, str], Iterator[Entry]]] = (
    _pyproject,
    _procfile,
    _dockerfile,
    _compose,
    _gunicorn,
    _script,
)


def _given(entry: Entry | None, shown: str) -> Iterator[Entry]:
    """The entry, with what `fastapi run` would take when it names no file."""
    if entry is None:
        return
    folder = entry.folder or _folder(shown)
    if entry.module:
        yield replace(entry, folder=folder)
        return
    for path in default_files():
        found = of_path(path, entry.name, entry.where)
        yield replace(found, folder=folder)


def _folder(shown: str) -> str:
    return shown.rpartition("/")[0]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _served_by_code(root: Path) -> Iterator[Entry]:
    """Every `uvicorn.run(…)` of the project's own files."""
    for path in sorted(python_files(root)):
        try:
            data = path.read_bytes() if path.stat().st_size <= _LARGEST else b""
            if b"uvicorn" not in data:
                continue
            shown = path.relative_to(root).as_posix()
            file = AppFile(Source(shown, data))
        except (OSError, SourceError):
            continue
        for node in file.nodes:
            if isinstance(node, ast.Call) and "uvicorn.run" in file.qualified_names(node.func):
                yield from _of_call(file, node, shown)


def _of_call(file: AppFile, call: ast.Call, shown: str) -> Iterator[Entry]:
    options = {one.arg: one.value for one in call.keywords if one.arg}
    what = call.args[0] if call.args else options.get("app")
    where = f"{shown}:{file.line_of(call)}"
    lifespan, factory = options.get("lifespan"), options.get("factory")
    more: dict[str, Any] = {
        "lifespan": str(lifespan.value) if isinstance(lifespan, ast.Constant) else "auto",
        "factory": isinstance(factory, ast.Constant) and factory.value is True,
    }
    if isinstance(what, ast.Constant) and isinstance(what.value, str) and ":" in what.value:
        module, _, name = what.value.partition(":")
        yield Entry(module, name, where, folder=_folder(shown), **more)
    elif what is not None and (name := dotted(what) or code_of(what)):
        yield Entry("", name, where, script=shown, **more)
