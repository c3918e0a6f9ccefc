"""Read the commands and settings files that start a project's server, and the object that the server loads."""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from targcc_gen.patch.app_file import AppFile, Source, SourceError, code_of, dotted
from targcc_gen.patch.apps import python_files

# The loaded object on a command line.

_APP = re.compile(r"(?P<module>[A-Za-z_][\w.]*):(?P<name>[A-Za-z_][\w.]*)(?P<called>\(.*\))?")
_DEFAULT = re.compile(r"\$\{\w+:?-([^}]*)\}")
_ASGI = ("uvicorn", "hypercorn", "daphne", "granian")
_WSGI = ("waitress-serve", "uwsgi")
_DEFAULT_FILES = ("main.py", "app.py", "api.py", "app/main.py", "app/app.py", "app/api.py")
_WORKERS = ("-k", "--worker-class")


@dataclass(frozen=True)
class Entry:
    """The object that a server loads.

    Args:
        module: The module, `shop.main`; empty for a script that starts the server.
        name: The name in the module: `app`, `server.app`, `create_app`.
        where: The setting that names the object: `Procfile:1`.
        factory: Whether the server calls the object to get the app.
        lifespan: uvicorn's option: `auto`, `on` or `off`.
        wsgi: Whether the server speaks WSGI, which has no lifespan.
        folder: The server's import folder, below the project's folder; empty for the project's folder.
        script: The script that starts the server, below the project's folder; else empty.
        settings: gunicorn's settings file, which may name the worker class; empty when the command has a worker class.
    """

    module: str
    name: str
    where: str
    factory: bool = False
    lifespan: str = "auto"
    wsgi: bool = False
    folder: str = ""
    script: str = ""
    settings: str = ""

    @property
    def shown(self) -> str:
        """The object in messages: `shop.main:app`, `shop.main:create_app()` or `python run.py`."""
        if self.script:
            return f"python {self.script}"
        return f"{self.module}:{self.name}{'()' if self.factory else ''}"


def read_command(command: str | Sequence[str], where: str) -> Entry | None:
    """Return the object that a command line serves; `None` when the command starts no known server.

    Args:
        command: A shell command, or its words.
        where: The place of the command, for messages.
    """
    words = _words(command) if isinstance(command, str) else [*command]
    if len(words) > 1 and words[0].rpartition("/")[2] in {"sh", "bash"} and words[1][0] == "-":
        words = _words(words[-1])
    programs = [word.rpartition("/")[2] for word in words]
    for index, program in enumerate(programs):
        rest = words[index + 1 :]
        if program == "fastapi" and rest[:1] and rest[0] in {"run", "dev"}:
            return _fastapi(rest[1:], where)
        if program in {*_ASGI, *_WSGI, "gunicorn"}:
            return _server(program, rest, where)
    for index, program in enumerate(programs):
        if re.fullmatch(r"python[\d.]*", program) and (script := _python(words[index + 1 :])):
            return Entry("", "", where, script=script)
    return None


def _python(words: Sequence[str]) -> str:
    """Return the script of `python run.py` or `python -m shop`; empty for other commands."""
    module = _option(words, "-m")
    if module and re.fullmatch(r"[\w.]+", module):
        return f"{module.replace('.', '/')}/__main__.py"
    path = next((word for word in words if not word.startswith("-")), "")
    return path.removeprefix("/app/") if path.endswith(".py") else ""


def _words(command: str) -> list[str]:
    text = _DEFAULT.sub(r"\1", command).replace("\\\n", " ")
    try:
        return shlex.split(text, comments=True)
    except ValueError:
        return text.split()


def _server(program: str, words: Sequence[str], where: str) -> Entry | None:
    named = next((match for word in words if (match := _APP.fullmatch(word))), None)
    if named is None:
        return None
    worker = _option(words, *_WORKERS)
    settings = ""
    if program == "gunicorn" and worker is None:
        settings = (_option(words, "-c", "--config") or "gunicorn.conf.py").removeprefix("file:")
    wsgi = program in _WSGI or (program == "gunicorn" and not is_asgi_worker(worker))
    wsgi = wsgi or _option(words, "--interface") == "wsgi"
    return Entry(
        named["module"],
        named["name"],
        where,
        factory="--factory" in words or bool(named["called"]),
        lifespan=_option(words, "--lifespan") or "auto",
        wsgi=wsgi,
        folder=_option(words, "--app-dir", "--chdir") or "",
        settings=settings,
    )


def is_asgi_worker(name: str | None) -> bool:
    """Whether a gunicorn worker class speaks ASGI."""
    return bool(name) and any(word in str(name).lower() for word in ("uvicorn", "asgi"))


def _option(words: Sequence[str], *names: str) -> str | None:
    for index, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name in names:
            return value if equals else next(iter(words[index + 1 : index + 2]), None)
    return None


def _fastapi(words: Sequence[str], where: str) -> Entry | None:
    """Return the object of `fastapi run [PATH] [--app NAME]`; without a path the module is empty."""
    named = _option(words, "-e", "--entrypoint")
    if named and (match := _APP.fullmatch(named)):
        return Entry(match["module"], match["name"], where)
    path = next((word for word in words if word.endswith(".py")), "")
    name = _option(words, "--app") or ""
    if path:
        return of_path(path, name, where)
    return Entry("", name, where)


def of_path(path: str, name: str, where: str) -> Entry:
    """Return an entry whose module is derived from the file's path."""
    parts = [
        part for part in PurePosixPath(path).with_suffix("").parts if part not in {".", "/", "src"}
    ]
    return Entry(".".join(parts), name, where)


def default_files() -> tuple[str, ...]:
    """Return the files that `fastapi run` tries without a path."""
    return _DEFAULT_FILES


# Server settings: pyproject.toml, Procfile, Dockerfile, compose, gunicorn's settings, scripts.

_SKIPPED = frozenset({"node_modules", "venv", "env", "build", "dist", "tests", "docs"})
_LARGEST = 1_000_000
_DEPTH = 2


def read_entries(root: Path) -> Iterator[Entry]:
    """Yield the entries of a project's server settings, the most certain first."""
    files = sorted(_files(root, _DEPTH), key=lambda path: (len(path.parts), path.name))
    scripts = [*_served_by_code(root)]
    for read in _READERS:
        for path in files:
            for entry in read(path, path.relative_to(root).as_posix()):
                if entry.script:
                    yield from _of_script(root, entry, scripts)
                else:
                    yield _with_settings(root, entry)
    yield from scripts


def _of_script(root: Path, entry: Entry, scripts: Sequence[Entry]) -> Iterator[Entry]:
    """Yield the objects that a command's script serves: `python run.py`, `python -m shop`."""
    name = entry.script
    places = (f"{entry.folder}/{name}" if entry.folder else name, name, f"src/{name}")
    for place in dict.fromkeys(os.path.normpath(place).replace("\\", "/") for place in places):
        if (root / place).is_file():
            yield from (
                replace(script, where=entry.where)
                for script in scripts
                if script.where.rpartition(":")[0] == place
            )
            return


def _with_settings(root: Path, entry: Entry) -> Entry:
    """Return the entry with the worker class of gunicorn's settings file."""
    if not entry.wsgi or not entry.settings:
        return entry
    for folder in dict.fromkeys((entry.folder, "")):
        path = root / folder / entry.settings.lstrip("/")
        names = (path, root / folder / path.name)
        for name in names:
            if name.is_file() and is_asgi_worker(str(_assigned(name).get("worker_class", ""))):
                return replace(entry, wsgi=False)
    return entry


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
        data: dict[str, Any] = tomllib.loads(_text(path))
    except tomllib.TOMLDecodeError:
        return
    named = data.get("tool", {}).get("fastapi", {}).get("entrypoint")
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
    for words in (command, start):
        if words:
            yield from _given(read_command(words[1], f"{shown}:{words[0]}"), shown)


def _joined(text: str) -> Iterator[tuple[int, str]]:
    """Yield logical lines with their first line's number; join lines that end with a backslash."""
    kept, first = "", 0
    for number, line in enumerate(text.splitlines(), start=1):
        first = first if kept else number
        kept += line.rstrip().removesuffix("\\") + " "
        if not line.rstrip().endswith("\\"):
            yield first, kept
            kept = ""


def _docker_words(text: str) -> list[str] | str:
    try:
        words = json.loads(text)
    except ValueError:
        return text
    return [str(word) for word in words] if isinstance(words, list) else text


def _compose(path: Path, shown: str) -> Iterator[Entry]:
    if not re.fullmatch(r"(docker-)?compose[\w.-]*\.ya?ml", path.name):
        return
    import yaml

    text = _text(path)
    try:
        data = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError):
        return
    services = data.get("services") if isinstance(data, dict) else None
    for name, service in (services or {}).items():
        command = service.get("command") if isinstance(service, dict) else None
        if isinstance(command, list):
            command = [str(word) for word in command]
        if isinstance(command, str | list):
            yield from _given(read_command(command, f"{shown}: services.{name}"), shown)


def _gunicorn(path: Path, shown: str) -> Iterator[Entry]:
    """Read `wsgi_app` and `worker_class` of gunicorn's settings, a Python file."""
    if path.suffix != ".py" or "gunicorn" not in path.name:
        return
    values = _assigned(path)
    named = values.get("wsgi_app")
    if isinstance(named, str) and (entry := read_command(["uvicorn", named], shown)):
        asgi = is_asgi_worker(str(values.get("worker_class", "")))
        yield Entry(entry.module, entry.name, shown, entry.factory, wsgi=not asgi)


def _assigned(path: Path) -> dict[str, Any]:
    """Return the constants that a Python file assigns; a default of `os.getenv(…, "…")` counts."""
    try:
        module = ast.parse(_text(path))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return {}
    values = {}
    for node in module.body:
        if not isinstance(node, ast.Assign) or not isinstance(node.targets[0], ast.Name):
            continue
        value = node.value
        if isinstance(value, ast.Call) and value.args:
            value = value.args[-1]
        if isinstance(value, ast.Constant):
            values[node.targets[0].id] = value.value
    return values


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
    """Yield the entry with its folder; for an entry without a module, the default files of `fastapi run`."""
    if entry is None:
        return
    folder = entry.folder or _folder(shown)
    if entry.module or entry.script:
        yield replace(entry, folder=folder)
        return
    for path in default_files():
        path_entry = of_path(path, entry.name, entry.where)
        yield replace(path_entry, folder=folder)


def _folder(shown: str) -> str:
    return shown.rpartition("/")[0]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


_CALLS = frozenset({"uvicorn.run", "uvicorn.Config"})


def _served_by_code(root: Path) -> Iterator[Entry]:
    """Yield the entries of `uvicorn.run(…)` and `uvicorn.Config(…)` calls in the project's Python files."""
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
            if isinstance(node, ast.Call) and _CALLS & file.qualified_names(node.func):
                yield from _of_call(file, node, shown)


def _of_call(file: AppFile, call: ast.Call, shown: str) -> Iterator[Entry]:
    options = {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg}
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
