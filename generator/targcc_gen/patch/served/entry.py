"""What a server is told to load, and how it is written on a command line."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

_APP = re.compile(r"(?P<module>[A-Za-z_][\w.]*):(?P<name>[A-Za-z_][\w.]*)(?P<called>\(.*\))?")
_DEFAULT = re.compile(r"\$\{\w+:?-([^}]*)\}")
_ASGI = ("uvicorn", "hypercorn", "daphne", "granian")
_WSGI = ("waitress-serve", "uwsgi")
_DEFAULT_FILES = ("main.py", "app.py", "api.py", "app/main.py", "app/app.py", "app/api.py")
_WORKERS = ("-k", "--worker-class")


@dataclass(frozen=True)
class Entry:
    """What a server loads.

    Args:
        module: The module, `shop.main`; empty for a script that serves itself.
        name: In it: `app`, `server.app`, `create_app`.
        where: What says so: `Procfile:1`.
        factory: Whether the server calls it.
        lifespan: `auto`, `on` or `off`, as uvicorn takes them.
        wsgi: Whether the server speaks WSGI, which has no lifespan.
        folder: Where the server looks for modules, below the project's folder; empty when nothing says so.
        script: The file that is run, below the project's folder; empty unless it serves itself.
    """

    module: str
    name: str
    where: str
    factory: bool = False
    lifespan: str = "auto"
    wsgi: bool = False
    folder: str = ""
    script: str = ""

    @property
    def shown(self) -> str:
        """What people call it: `shop.main:app`."""
        if self.script:
            return f"python {self.script}"
        return f"{self.module}:{self.name}{'()' if self.factory else ''}"


def read_command(command: str | Sequence[str], where: str) -> Entry | None:
    """What a command line serves; `None` when it starts no server that is known.

    Args:
        command: As a shell reads it, or its words.
        where: What says so.
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
    return None


def _words(command: str) -> list[str]:
    text = _DEFAULT.sub(r"\1", command).replace("\\\n", " ")
    try:
        return shlex.split(text, comments=True)
    except ValueError:
        return text.split()


def _server(program: str, words: Sequence[str], where: str) -> Entry | None:
    found = next((match for word in words if (match := _APP.fullmatch(word))), None)
    if found is None:
        return None
    worker = _option(words, *_WORKERS)
    wsgi = program in _WSGI or (program == "gunicorn" and not is_asgi_worker(worker))
    wsgi = wsgi or _option(words, "--interface") == "wsgi"
    return Entry(
        found["module"],
        found["name"],
        where,
        factory="--factory" in words or bool(found["called"]),
        lifespan=_option(words, "--lifespan") or "auto",
        wsgi=wsgi,
        folder=_option(words, "--app-dir", "--chdir") or "",
    )


def is_asgi_worker(name: str | None) -> bool:
    """Whether a worker class of gunicorn speaks ASGI."""
    return bool(name) and any(word in str(name).lower() for word in ("uvicorn", "asgi"))


def _option(words: Sequence[str], *names: str) -> str | None:
    for index, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name in names:
            return value if equals else next(iter(words[index + 1 : index + 2]), None)
    return None


def _fastapi(words: Sequence[str], where: str) -> Entry | None:
    """`fastapi run [PATH] [--app NAME]`; without a path it takes the first of a few usual ones, which are tried elsewhere."""
    named = _option(words, "-e", "--entrypoint")
    if named and (found := _APP.fullmatch(named)):
        return Entry(found["module"], found["name"], where)
    path = next((word for word in words if word.endswith(".py")), "")
    name = _option(words, "--app") or ""
    if path:
        return of_path(path, name, where)
    return Entry("", name, where)


def of_path(path: str, name: str, where: str) -> Entry:
    """The module of a file, as far as its path says."""
    parts = [
        part for part in PurePosixPath(path).with_suffix("").parts if part not in {".", "/", "src"}
    ]
    return Entry(".".join(parts), name, where)


def default_files() -> tuple[str, ...]:
    """Where `fastapi run` looks when it is told nothing."""
    return _DEFAULT_FILES
