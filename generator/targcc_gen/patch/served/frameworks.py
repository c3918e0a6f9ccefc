"""Applications of other frameworks: which it is, and how the scheduler goes with it."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

from targcc_gen.errors import InputError
from targcc_gen.patch.app.candidates import LARGEST, MANAGED, python_files
from targcc_gen.patch.app.file import AppFile
from targcc_gen.patch.app.nodes import dotted, targets_of
from targcc_gen.patch.app.source import RefusalError, Source
from targcc_gen.patch.edit.by_hand import WRAPPER, ByHand

_MAKERS = {
    "starlette.applications.Starlette": "Starlette",
    "litestar.Litestar": "Litestar",
    "litestar.app.Litestar": "Litestar",
    "quart.Quart": "Quart",
    "django.core.asgi.get_asgi_application": "Django (ASGI)",
    "django.core.wsgi.get_wsgi_application": "Django (WSGI)",
    "flask.Flask": "Flask",
    "flask.app.Flask": "Flask",
}
_WSGI = frozenset({"Flask", "Django (WSGI)"})
_ORDER = list(_MAKERS.values())


@dataclass(frozen=True)
class Host:
    """An application of another framework.

    Args:
        framework: Its name.
        name: The name it is bound to; that of its factory's result is not looked for.
        line: The line.
        is_top: Whether it is made at the file's own level.
    """

    framework: str
    name: str
    line: int
    is_top: bool

    @property
    def speaks_wsgi(self) -> bool:
        """Whether nothing in it can run with its server: WSGI has no lifespan."""
        return self.framework in _WSGI


def host_in(file: AppFile) -> Host | None:
    """The application that a file makes with another framework; one that speaks ASGI first."""
    found = []
    for node in file.nodes:
        if not isinstance(node, ast.Assign | ast.AnnAssign) or not isinstance(node.value, ast.Call):
            continue
        for name in file.qualified_names(node.value.func):
            if framework := _MAKERS.get(name):
                targets = targets_of(node) or [
                    dotted(target) for target in getattr(node, "targets", [])
                ]
                top = not file.scope_of(node)
                found.append(
                    Host(framework, targets[0] if targets else "", file.line_of(node), top)
                )
    return min(found, key=lambda host: (_ORDER.index(host.framework), host.line), default=None)


def find_host(root: Path) -> Path | None:
    """The file of a project without FastAPI that makes an application; one that speaks ASGI first."""
    found = []
    for path in sorted(python_files(root)):
        try:
            data = path.read_bytes() if path.stat().st_size <= LARGEST else b""
            if (
                not any(name.partition(".")[0].encode() in data for name in _MAKERS)
                or MANAGED in data
            ):
                continue
            host = host_in(AppFile(Source(path.relative_to(root).as_posix(), data)))
        except (OSError, InputError):
            continue
        if host is not None:
            found.append((_ORDER.index(host.framework), path))
    return min(found)[1] if found else None


def refusal_of(file: AppFile, host: Host, lines: ByHand, program: str) -> RefusalError:
    """What to do with an application of another framework."""
    name = host.name or "app"
    message = f"{file.source.name}:{host.line}: error: {name} is a {host.framework} application, not FastAPI"
    if not host.speaks_wsgi:
        last = len(file.source.lines) if host.is_top else None
        return RefusalError(message, hint=lines.wrap(name, last))
    return RefusalError(
        message,
        hint=(
            "A server that speaks WSGI runs no lifespan, so nothing in it can run jobs. Everything else is in place; run beside it,"
            f" on the same database:\n\n    {program} serve      # jobs and pages\n    {program} worker     # jobs alone\n\n"
            "Or serve both by one ASGI server, such as uvicorn:\n\n"
            f"    from a2wsgi import WSGIMiddleware\n    {lines.importing}{WRAPPER}\n\n"
            f'    application = {WRAPPER}(WSGIMiddleware({name}), "/jobs")'
        ),
    )
