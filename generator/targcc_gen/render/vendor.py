"""The scheduler of a project: the distribution `targcc-scheduler`, as a dependency or as its source tree in `vendor/`.

The source tree is the distribution file by file, with one line more at the top of each file that names its owner. In both
ways `src/<package>/scheduler.py` is the only file that is made for the project: it hands the scheduler the project's values.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from targcc_gen import assets
from targcc_gen.render.job.formatting import LINE_LENGTH, formatted
from targcc_gen.render.literals import pyliteral
from targcc_gen.render.origin import Origin, origin_of
from targcc_gen.render.package import DISTRIBUTION, PACKAGE, SOURCE_TREE, package_files
from targcc_gen.render.wheel import wheel_version

if TYPE_CHECKING:
    from pydantic import BaseModel

    from targcc_gen.spec import Spec

_OF_DISTRIBUTION = ("LICENSE", "README.md", "pyproject.toml")

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
_EXTRAS = {
    "postgresql": "PostgreSQL as the scheduler's database: several machines, LISTEN/NOTIFY.",
    "mssql": "SQL Server for the data of jobs: tables and stored procedures, APP_DATABASE_URL.",
    "oidc": "Sign-in at an OpenID provider, TARGCC_OIDC_ISSUER.",
    "otel": "A span of OpenTelemetry for each run, in the trace of the caller, TARGCC_OTEL.",
    "secrets": "Encryption of secret arguments, TARGCC_SECRET_KEY.",
}
_LINTER = """exclude = ["*"]  # the scheduler follows the rules of its own repository
"""
_REVIEWS = "# Reviews fold these files, and statistics leave them out.\n* linguist-generated\n"


def source_tree() -> Iterator[tuple[str, bytes]]:
    """The path in the project and the bytes of each file of the distribution's source tree."""
    yield f"{SOURCE_TREE}/.gitattributes", f"# {_NOTICE}\n{_REVIEWS}".encode()
    yield f"{SOURCE_TREE}/ruff.toml", marked("ruff.toml", _LINTER.encode())
    folder = assets.scheduler_distribution()
    for name in _OF_DISTRIBUTION:
        yield f"{SOURCE_TREE}/{name}", marked(
            name, (folder / name).read_bytes().replace(b"\r\n", b"\n")
        )
    for path, content in package_files():
        yield f"{SOURCE_TREE}/{PACKAGE}/{path}", marked(path, content)


def scheduler_module(spec: Spec) -> bytes:
    """The text of `src/<package>/scheduler.py`."""
    source = f'''"""The scheduler of this project: settings from targcc.yaml, and the names that jobs import."""

from typing import TYPE_CHECKING, Any

import {PACKAGE}
from {PACKAGE} import Project, configure

if TYPE_CHECKING:
    from {PACKAGE} import *  # noqa: F403 - editors and mypy see every name
else:

    def __getattr__(name: str) -> Any:
        """Import a public name at its first use, which keeps the start fast."""
        return getattr({PACKAGE}, name)


__all__ = {PACKAGE}.__all__

{_configure(spec)}
if __name__ == "__main__":
    {PACKAGE}.main(prog_name="targcc")
'''
    return marked("scheduler.py", _tidy(source).encode())


def marked(path: str, content: bytes) -> bytes:
    """The content below the line that says who looks after the file, where its kind can hold one."""
    comment = _COMMENTS.get(Path(path).suffix)
    if comment is None or not content or path.endswith(_CARRIED_AS_THEY_ARE):
        return content
    return f"{comment.format(_NOTICE)}\n".encode() + content


def project_requirements(spec: Spec) -> tuple[str, ...]:
    """What a project requires to run: the scheduler, with the extras for its database."""
    extras = ("run", "postgresql") if spec.database == "postgresql" else ("run",)
    return (requirement(spec, *extras),)


def project_extras(spec: Spec) -> tuple[dict[str, str], ...]:
    """The optional dependencies of a project: name, comment, requirement."""
    return tuple(
        {"name": name, "comment": comment, "requirement": requirement(spec, name)}
        for name, comment in _EXTRAS.items()
    )


def requirement(spec: Spec, *extras: str) -> str:
    """The scheduler of this release with some of its extras, from where the project has it."""
    name = f"{DISTRIBUTION}[{','.join(sorted(extras))}]"
    origin = package_origin(spec)
    return f"{name}=={version(spec)}" if origin is None else f"{name} @ {origin.reference}"


def version(spec: Spec) -> str:
    """The version of the scheduler that the project asks for."""
    if spec.scheduler == "package" and package_origin(spec) is None:
        return wheel_version()
    return importlib.metadata.version(DISTRIBUTION).partition("+")[0]


def package_origin(spec: Spec) -> Origin | None:
    """Where the dependency comes from by itself; None for a project that has it in `vendor/`."""
    return origin_of(DISTRIBUTION) if spec.scheduler == "package" else None


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
