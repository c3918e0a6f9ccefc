"""The scheduler of a project: a dependency or a source tree in `vendor/`, and its configuration.

The source tree has the distribution's files, each with an extra first line that names its owner. With either way
`src/<package>/scheduler.py` is rendered for the project: it passes the project's values to the scheduler. So is `flows.py`, if the spec has flows.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from targcc_gen import assets
from targcc_gen.names import JobName
from targcc_gen.render.decorator import instant
from targcc_gen.render.literals import pyliteral
from targcc_gen.render.package import (
    DISTRIBUTION,
    PACKAGE,
    SOURCE_TREE,
    Origin,
    origin_of,
    package_files,
    public_names,
)
from targcc_gen.render.python_source import LINE_LENGTH, formatted
from targcc_gen.render.wheel import wheel_version

if TYPE_CHECKING:
    from pydantic import BaseModel

    from targcc_gen.spec import Spec
    from targcc_gen.spec.models import FlowSpec, FlowStepSpec
    from targcc_gen.spec.parts import EnvironmentSpec


# Dependency and source tree.

_OF_DISTRIBUTION = ("LICENSE", "README.md", "pyproject.toml")

_NOTICE = "Managed by targcc-gen: regenerate merges edits; `targcc-gen eject PATH` makes it yours"
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
    "mssql": "SQL Server: as the scheduler's database, or for the data of jobs (APP_DATABASE_URL).",
    "oidc": "Sign-in at an OpenID provider, TARGCC_OIDC_ISSUER.",
    "otel": "A span of OpenTelemetry for each run, in the trace of the caller, TARGCC_OTEL.",
    "secrets": "Encryption of secret arguments, TARGCC_SECRET_KEY.",
}
_LINTER = """exclude = ["*"]  # the scheduler follows the rules of its own repository
"""
_REVIEWS = "# Reviews fold these files, and statistics leave them out.\n* linguist-generated\n"


def source_tree() -> Iterator[tuple[str, bytes]]:
    """Yield the path in the project and the bytes of each file of the distribution's source tree."""
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
    """Return the text of `src/<package>/scheduler.py`."""
    names = public_names()
    others = [name for name in names if name not in {"Project", "configure"}]
    source = f'''"""The scheduler of this project: settings from targcc.yaml, public names."""

from typing import TYPE_CHECKING, Any

import {PACKAGE}
from {PACKAGE} import Project, configure

{_configure(spec)}
if TYPE_CHECKING:  # pragma: no cover
    from {PACKAGE} import (
{_listed(others, 8)}    )
else:

    def __getattr__(name: str) -> Any:
        """Import a public name at its first use, which keeps the start fast."""
        return getattr({PACKAGE}, name)


__all__ = [
{_listed(map(pyliteral, names), 4)}]

if __name__ == "__main__":  # pragma: no cover
    {PACKAGE}.main(prog_name="targcc")
'''
    return marked("scheduler.py", _tidy(source).encode())


def _listed(items: Iterable[str], indent: int) -> str:
    """Return an item a line, each with a comma."""
    return "".join(f"{' ' * indent}{item},\n" for item in items)


def main_module(spec: Spec) -> bytes:
    """Return the text of `src/<package>/__main__.py`: `python -m <package>` is the command line."""
    package = spec.project.package
    source = f'''"""The command line of the scheduler: `python -m {package}` is `targcc`."""

from {package}.scheduler import main

if __name__ == "__main__":
    main(prog_name="targcc")
'''
    return marked("__main__.py", source.encode())


def flows_module(spec: Spec) -> bytes:
    """Return the text of `src/<package>/flows.py`: a function for each flow, with the flow's arguments as parameters."""
    parts = [
        f'''"""The flows of targcc.yaml: type checkers check the arguments of `start_flow(flow(...))`."""

from {PACKAGE} import flow
'''
    ]
    for name, declared in spec.flows.items():
        parameters = ", ".join(
            f"{key}: {type(value).__name__} = {pyliteral(value)}"
            for key, value in declared.arguments.items()
        )
        key = JobName.parse(name)
        parts.append(f'''@flow({pyliteral(name)})
def {key.module}({parameters and f"*, {parameters}"}) -> None:
    """Declare the arguments of the flow {name}."""
''')
    return marked("flows.py", _tidy("\n\n".join(parts)).encode())


def marked(path: str, content: bytes) -> bytes:
    """Return the content below a comment that names the file's owner. Files without a comment syntax stay unchanged."""
    comment = _COMMENTS.get(Path(path).suffix)
    if comment is None or not content or path.endswith(_CARRIED_AS_THEY_ARE):
        return content
    return f"{comment.format(_NOTICE)}\n".encode() + content


def project_requirements(spec: Spec) -> tuple[str, ...]:
    """Return the project's runtime requirement: the scheduler with the extras for its database."""
    return (requirement(spec, "run", *database_extras(spec.database)),)


def database_extras(database: str) -> tuple[str, ...]:
    """Return the extras of the scheduler that bring the driver of a database; SQLite's driver is part of Python."""
    return () if database == "sqlite" else (database,)


def project_extras(spec: Spec) -> tuple[dict[str, str], ...]:
    """Return the project's optional dependencies: name, comment, requirement."""
    return tuple(
        {"name": name, "comment": comment, "requirement": requirement(spec, name)}
        for name, comment in _EXTRAS.items()
    )


def requirement(spec: Spec, *extras: str) -> str:
    """Return the requirement of this release's scheduler with some extras: by version, or by its origin."""
    name = f"{DISTRIBUTION}[{','.join(sorted(extras))}]"
    origin = package_origin(spec)
    return f"{name}=={version(spec)}" if origin is None else f"{name} @ {origin.reference}"


def version(spec: Spec) -> str:
    """Return the version of the scheduler that the project requires."""
    if spec.scheduler == "package" and package_origin(spec) is None:
        return wheel_version()
    return importlib.metadata.version(DISTRIBUTION).partition("+")[0]


def package_origin(spec: Spec) -> Origin | None:
    """Return the origin that installers fetch the scheduler from; None for a project with the scheduler in `vendor/`."""
    return origin_of(DISTRIBUTION) if spec.scheduler == "package" else None


def _database_url(spec: Spec) -> str:
    """Return the default database URL; `TARGCC_DATABASE_URL` overrides it."""
    name = spec.project.package
    return (
        f"sqlite:///{name}.db"
        if spec.database == "sqlite"
        else f"{spec.database}://localhost/{name}"
    )


def _tidy(source: str) -> str:
    """Format the source with black if a line is too long; the template is in black's style otherwise."""
    if all(len(line) <= LINE_LENGTH for line in source.splitlines()):
        return source
    return formatted(source)


def _configure(spec: Spec) -> str:
    """Return the statement that passes the project's values to the scheduler."""
    from targcc_gen.spec import format_duration

    defaults = spec.defaults
    timeout = None if defaults.timeout is None else format_duration(defaults.timeout)

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
{_mode(spec)}{_process_queues(spec)}{_queue_limits(spec)}{_ordering(spec)}{_calendars(spec)}{_alerting(spec)}{_flows(spec)}{_features(spec)}    ){_environments(spec)}
)
"""


def _environments(spec: Spec) -> str:
    """Return the source of overrides by the value of `TARGCC_ENVIRONMENT`; empty without environments."""
    if not spec.environments:
        return ""

    shown = ", ".join(
        f"{pyliteral(name)}: {environment_source(spec, environment)}"
        for name, environment in spec.environments.items()
    )
    return f",\n    environments={{{shown}}},"


def _mode(spec: Spec) -> str:
    """Return the source of the mode of web processes; empty for the default."""
    return f"        mode={pyliteral(spec.mode)},\n" if spec.mode != "embedded" else ""


def _queue_limits(spec: Spec) -> str:
    """Return the source of the limits on concurrent runs of a queue across all nodes; empty without limits."""
    limits = {name: queue.concurrency for name, queue in spec.queues.items() if queue.concurrency}
    shown = ", ".join(f"{pyliteral(name)}: {limit}" for name, limit in limits.items())
    return f"        queue_limits={{{shown}}},\n" if limits else ""


def _ordering(spec: Spec) -> str:
    """Return the source of aging and pools of queues; empty if neither is set."""
    return "".join(
        f"        {name}={source(values)},\n" for name, values in ordering_of(spec).items()
    )


def _calendars(spec: Spec) -> str:
    """Return the source of the calendars, and of the calendars of whole queues; empty if neither is set."""
    queues = {
        name: _options_of(queue, ("calendar", "on_holiday"))
        for name, queue in spec.queues.items()
        if queue.calendar or queue.on_holiday
    }
    calendars = {
        name: _options_of(calendar, type(calendar).model_fields)
        for name, calendar in spec.calendars.items()
    }
    values = {"calendars": calendars, "queue_calendars": queues}
    return "".join(f"        {name}={source(value)},\n" for name, value in values.items() if value)


def _flows(spec: Spec) -> str:
    """Return the source of the flows; empty without flows."""
    if not spec.flows:
        return ""

    return f"        flows={source(flows_of(spec))},\n"


def _features(spec: Spec) -> str:
    """The packages of the project's features; nothing is said where there are none."""
    names = tuple(f"{spec.project.package}.features.{name}" for name in spec.features)
    return f"        features={pyliteral(names)},\n" if names else ""


def _options_of(model: BaseModel, keys: Iterable[str]) -> dict[str, Any]:
    """Return the values of a part of the spec that are set."""
    return {key: value for key in keys if (value := getattr(model, key))}


def _process_queues(spec: Spec) -> str:
    """Return the source of the queues whose jobs run in processes of their own; empty without such queues."""
    names = tuple(name for name, queue in spec.queues.items() if queue.isolation == "process")
    return f"        process_queues={pyliteral(names)},\n" if names else ""


def _alerting(spec: Spec) -> str:
    """Return the source of the project's alerts and on-call rotas; empty if neither is set."""
    from targcc_gen.spec.dump import section_values

    sections = {"alerts": section_values(spec.alerts), "oncall": section_values(spec.oncall)}
    return "".join(
        f"        {name}={pyliteral(values)},\n" for name, values in sections.items() if values
    )


# Overrides of an environment, as the scheduler takes them.


def environment_source(spec: Spec, place: EnvironmentSpec) -> str:
    """Return the arguments of `Project` that differ in an environment, as the source of a dictionary.

    Args:
        spec: The project's spec.
        place: An environment of the project.
    """
    arguments: dict[str, Any] = _set_values(place.defaults)
    if place.queues or place.pools:
        arguments |= _queues(spec, place)
    options = {spec.stable_name(key): _set_values(job) for key, job in place.jobs.items()}
    options |= {
        key: _set_values(flow) for key, flow in place.flows.items()
    }  # a flow is started by a job
    if options:
        arguments["job_options"] = options
    return source(arguments)


def _queues(spec: Spec, place: EnvironmentSpec) -> dict[str, Any]:
    queues = {
        name: queue.model_copy(update=_changed(place.queues.get(name)))
        for name, queue in spec.queues.items()
    }
    pools = {
        name: pool.model_copy(update=_changed(place.pools.get(name)))
        for name, pool in spec.pools.items()
    }
    changed = spec.model_copy(update={"queues": queues, "pools": pools})
    return {
        "queues": workers_of(changed),
        **ordering_of(changed),
        "queue_limits": {
            name: queue.concurrency for name, queue in queues.items() if queue.concurrency
        },
        "process_queues": tuple(
            name for name, queue in queues.items() if queue.isolation == "process"
        ),
    }


def _changed(model: BaseModel | None) -> dict[str, Any]:
    return {key: value for key, value in model or () if value is not None}


def workers_of(spec: Spec) -> dict[str, int]:
    """Map each queue to its number of concurrent runs on a node; queues of a pool share the pool's number."""
    return {
        name: spec.pools[queue.pool].workers if queue.pool else queue.workers
        for name, queue in spec.queues.items()
    }


def ordering_of(spec: Spec) -> dict[str, Any]:
    """Return aging in seconds by queue, and the pools with their queues' weights; leave out an empty part."""
    aging = {
        name: round(queue.aging.total_seconds())
        for name, queue in spec.queues.items()
        if queue.aging
    }
    pools = {
        name: {
            "workers": pool.workers,
            "order": pool.order,
            "queues": {
                key: queue.weight or 1 for key, queue in spec.queues.items() if queue.pool == name
            },
        }
        for name, pool in spec.pools.items()
    }
    return {key: value for key, value in (("queue_aging", aging), ("pools", pools)) if value}


def _set_values(model: BaseModel) -> dict[str, Any]:
    from targcc_gen.spec import format_duration

    return {
        key: format_duration(value) if isinstance(value, timedelta) else value
        for key, value in model
        if value is not None
    }


def source(value: Any) -> str:
    """Return a value as Python source; a mapping in braces."""
    if isinstance(value, dict):
        return (
            f"{{{', '.join(f'{pyliteral(key)}: {source(item)}' for key, item in value.items())}}}"
        )
    return pyliteral(value)


# Flows, as the scheduler takes them.


def flows_of(spec: Spec) -> dict[str, dict[str, Any]]:
    """Return the argument `flows` of `Project`."""
    return {name: _flow(spec, flow) for name, flow in spec.flows.items()}


def _flow(spec: Spec, flow: FlowSpec) -> dict[str, Any]:
    from targcc_gen.spec import format_duration

    misfire = flow.misfire
    values = {
        "cron": flow.cron,
        "every": flow.every and format_duration(flow.every),
        "at": flow.at and instant(flow.at),
        "timezone": flow.timezone,
        "display_name": flow.display_name,
        "description": flow.description,
        "queue": flow.queue,
        "overlap": flow.overlap,
        "unique": flow.unique,
        "misfire": misfire.policy if misfire and misfire.policy != "run_once" else None,
        "misfire_grace": format_duration(misfire.grace) if misfire and misfire.grace else None,
        "calendar": flow.calendar,
        "on_holiday": flow.on_holiday,
        "paused": flow.paused,
        "arguments": flow.arguments,
        "steps": {name: _step(spec, step) for name, step in flow.steps.items()},
    }
    return {key: value for key, value in values.items() if value}


def _step(spec: Spec, step: FlowStepSpec) -> dict[str, Any]:
    values = {**dict(step), "job": spec.stable_name(step.job)}
    if step.on == "success":
        values["on"] = ""
    return {key: value for key, value in values.items() if value}
