"""The scheduler in a project: a copy of the package `targcc_scheduler`, or one file that leads to it.

The copy is the package byte for byte, with one line more at the top of each file that says whose it is. In both ways
`scheduler/__init__.py` is the only file that is made for the project: it hands the scheduler the project's values.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from targcc_gen.render.job.formatting import LINE_LENGTH, formatted
from targcc_gen.render.literals import pyliteral
from targcc_gen.render.package import DISTRIBUTION, PACKAGE, package_files
from targcc_gen.render.wheel import wheel_version

if TYPE_CHECKING:
    from packaging.requirements import Requirement
    from pydantic import BaseModel

    from targcc_gen.spec import Spec

_NOTICE = "Managed by targcc-gen: regenerate merges your edits; `targcc-gen eject PATH` makes the file yours."
_COMMENTS = {
    ".css": "/* {} */",
    ".html": "{{# {} #}}",
    ".js": "// {}",
    ".md": "<!-- {} -->\n",
    ".po": "# {}",
    ".py": "# {}",
    ".sql": "-- {}",
    ".toml": "# {}",
}
_CARRIED_AS_THEY_ARE = (".min.js",)
_GUIDES = "docs/"  # they go elsewhere in a project: `guides`
_EXTRAS = {
    "postgresql": "PostgreSQL as the scheduler's database: several machines, LISTEN/NOTIFY.",
    "mssql": "Stored procedures and tables on SQL Server, through APP_DATABASE_URL.",
    "oidc": "People sign in at an OpenID provider, TARGCC_OIDC_ISSUER.",
    "otel": "Spans of runs in the trace of whoever enqueues them, TARGCC_OTEL.",
    "secrets": "Secret arguments are stored encrypted, with the keys in TARGCC_SECRET_KEY.",
}
_LINTER = """exclude = ["*"]  # it is checked where it is made, by other rules than yours
"""
_REVIEWS = "# Reviews fold it, and statistics leave it out.\n* linguist-generated\n"


def scheduler_files(spec: Spec) -> Iterator[tuple[str, bytes]]:
    """The path below `scheduler/` and the bytes of each file, in the way that the spec asks for."""
    if spec.scheduler == "package":
        yield "__init__.py", package_module(spec)
    else:
        yield from vendored_files(spec)


def vendored_files(spec: Spec) -> Iterator[tuple[str, bytes]]:
    """The path below `scheduler/` and the bytes of each file of a copy."""
    yield ".gitattributes", f"# {_NOTICE}\n{_REVIEWS}".encode()
    yield "ruff.toml", marked("ruff.toml", _LINTER.encode())
    for path, content in package_files():
        if path.startswith(_GUIDES):
            continue
        told = f"\n\n{_tidy(_configure(spec))}".encode() if path == "__init__.py" else b""
        yield path, marked(path, content + told)


def package_module(spec: Spec) -> bytes:
    """The `scheduler/__init__.py` of a project that depends on the package."""
    names = public_names()
    listed = "".join(f"    {pyliteral(name)},\n" for name in names)
    lazy = [name for name in names if name not in {"Project", "configure", "__version__"}]
    imported = "".join(f"        {name},\n" for name in lazy)
    source = f'''"""The scheduler of this project: the package {DISTRIBUTION}, told what targcc.yaml says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import {PACKAGE}
from {PACKAGE} import Project, __version__, configure

if TYPE_CHECKING:
    from {PACKAGE} import (
{imported}    )

__all__ = [
{listed}]

{_configure(spec)}

def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    return getattr({PACKAGE}, name)


def __dir__() -> list[str]:
    return {PACKAGE}.__dir__()
'''
    return marked("__init__.py", _tidy(source).encode())


def marked(path: str, content: bytes) -> bytes:
    """The content below the line that says who looks after the file, where its kind can hold one."""
    comment = _COMMENTS.get(Path(path).suffix)
    if comment is None or not content or path.endswith(_CARRIED_AS_THEY_ARE):
        return content
    return f"{comment.format(_NOTICE)}\n".encode() + content


@cache
def public_names() -> tuple[str, ...]:
    """The names that `from <package>.scheduler import …` offers, in the order of the package."""
    import ast

    source = dict(package_files())["__init__.py"]
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "__all__":
            return tuple(ast.literal_eval(statement.value))
    raise AssertionError("the package's __init__ has no __all__")


@cache
def requirements(extra: str = "") -> tuple[str, ...]:
    """What the package requires, by its own metadata: without an extra, or what the extra adds."""
    return tuple(sorted(_without_marker(one) for one in _required() if _belongs(one, extra)))


def project_requirements(spec: Spec) -> tuple[str, ...]:
    """What a project requires to run: what the scheduler's own metadata says, or the package itself."""
    postgresql = spec.database == "postgresql"
    if spec.scheduler == "package":
        return (_pinned("postgresql,run" if postgresql else "run"),)
    wanted = {
        *requirements(),
        *requirements("run"),
        *(requirements("postgresql") if postgresql else ()),
    }
    return tuple(sorted(wanted))


def project_extras(spec: Spec) -> tuple[dict[str, Any], ...]:
    """The optional dependencies of a project: name, comment, requirements."""
    packaged = spec.scheduler == "package"
    return tuple(
        {
            "name": name,
            "comment": comment,
            "requirements": (_pinned(name),) if packaged else requirements(name),
        }
        for name, comment in _EXTRAS.items()
    )


def _pinned(extras: str) -> str:
    return f"{DISTRIBUTION}[{extras}]=={wheel_version()}"


def _required() -> list[Requirement]:
    from packaging.requirements import Requirement

    return [Requirement(text) for text in importlib.metadata.requires(DISTRIBUTION) or ()]


def _belongs(requirement: Requirement, extra: str) -> bool:
    if requirement.marker is None:
        return not extra
    return bool(extra) and requirement.marker.evaluate({"extra": extra})


def _without_marker(requirement: Requirement) -> str:
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    # The newest bound last, as people write it: ">=3.7,<4".
    bounds = sorted((str(one) for one in requirement.specifier), key=lambda text: text[0] == "<")
    return f"{requirement.name}{extras}{','.join(bounds)}"


def _database_url(spec: Spec) -> str:
    """Where the scheduler's tables are while `TARGCC_DATABASE_URL` says nothing else."""
    name = spec.project.package
    urls = {"sqlite": f"sqlite:///{name}.db", "postgresql": f"postgresql://localhost/{name}"}
    return urls[spec.database]


def _tidy(source: str) -> str:
    """The source as black leaves it; what is written here is so already, unless a name in it makes a line too long."""
    if all(len(line) <= LINE_LENGTH for line in source.splitlines()):
        return source
    return formatted(source)


def _configure(spec: Spec) -> str:
    """The statement that tells the scheduler about the project."""
    from targcc_gen.spec import format_duration

    defaults = spec.defaults
    timeout = None if defaults.timeout is None else format_duration(defaults.timeout)
    from targcc_gen.render.environments import source, workers_of

    return f"""configure(
    Project(
        name={pyliteral(spec.project.name)},
        package={pyliteral(spec.project.package)},
        timezone={pyliteral(spec.project.timezone)},
        database_url={pyliteral(_database_url(spec))},
        queues={source(workers_of(spec))},
        queue={pyliteral(defaults.queue)},
        retries={defaults.retries},
        backoff={pyliteral(format_duration(defaults.backoff))},
        timeout={pyliteral(timeout)},
{_process_queues(spec)}{_queue_limits(spec)}{_ordering(spec)}{_calendars(spec)}{_told(spec)}{_flows(spec)}    ){_environments(spec)}
)
"""


def _environments(spec: Spec) -> str:
    """What is different where `TARGCC_ENVIRONMENT` names an environment; nothing where there are none."""
    if not spec.environments:
        return ""
    from targcc_gen.render.environments import different

    shown = ", ".join(
        f"{pyliteral(name)}: {different(spec, one)}" for name, one in spec.environments.items()
    )
    return f",\n    environments={{{shown}}},"


def _queue_limits(spec: Spec) -> str:
    """How many runs of a queue go on at once on all nodes; nothing is said where no queue has such a limit."""
    limits = {name: one.concurrency for name, one in spec.queues.items() if one.concurrency}
    shown = ", ".join(f"{pyliteral(name)}: {limit}" for name, limit in limits.items())
    return f"        queue_limits={{{shown}}},\n" if limits else ""


def _ordering(spec: Spec) -> str:
    """What waiting counts in queues, and which of them share workers; nothing is said where there is none."""
    from targcc_gen.render.environments import ordering_of, source

    return "".join(
        f"        {name}={source(values)},\n" for name, values in ordering_of(spec).items()
    )


def _calendars(spec: Spec) -> str:
    """The calendars, and which of them hold a whole queue; nothing is said where there are none."""
    from targcc_gen.render.environments import source

    queues = {
        name: _said(queue, ("calendar", "on_holiday"))
        for name, queue in spec.queues.items()
        if queue.calendar or queue.on_holiday
    }
    calendars = {
        name: _said(calendar, type(calendar).model_fields)
        for name, calendar in spec.calendars.items()
    }
    values = {"calendars": calendars, "queue_calendars": queues}
    return "".join(f"        {name}={source(one)},\n" for name, one in values.items() if one)


def _flows(spec: Spec) -> str:
    """The flows; nothing is said where there are none."""
    if not spec.flows:
        return ""
    from targcc_gen.render.environments import source
    from targcc_gen.render.job.flows import flows_of

    return f"        flows={source(flows_of(spec))},\n"


def _said(model: BaseModel, keys: Iterable[str]) -> dict[str, Any]:
    """What a part of the spec says."""
    return {key: value for key in keys if (value := getattr(model, key))}


def _process_queues(spec: Spec) -> str:
    """The queues whose jobs run in processes of their own; nothing is said where there are none."""
    names = tuple(name for name, queue in spec.queues.items() if queue.isolation == "process")
    return f"        process_queues={pyliteral(names)},\n" if names else ""


def _told(spec: Spec) -> str:
    """Who is told of what, for the project as a whole; nothing is said where the spec says nothing."""
    from targcc_gen.spec.writing.dump import section_values

    said = {"alerts": section_values(spec.alerts), "oncall": section_values(spec.oncall)}
    return "".join(
        f"        {name}={pyliteral(values)},\n" for name, values in said.items() if values
    )
