"""Write a `Spec` as YAML: only values that differ from the defaults, text safely quoted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from pydantic import BaseModel

from targcc_gen.spec.models import FlowSpec, JobSpec, Spec
from targcc_gen.spec.nodes import quoted, scalar
from targcc_gen.spec.params import Param
from targcc_gen.spec.parts import AlertsSpec, MisfireSpec, PoolSpec, QueueSpec
from targcc_gen.spec.times import format_duration

SCHEMA_LINE = "# yaml-language-server: $schema=.targcc/schema.json"
"""Comment for editors: the path of the schema, relative to the spec."""

# Keys written even with their default value, because the reader wants to know.
_ALWAYS_SAID: dict[type[BaseModel], frozenset[str]] = {
    AlertsSpec: frozenset({"on"}),
    MisfireSpec: frozenset({"policy"}),
}


class _Bare(str):
    """Text written without quotes."""

    __slots__ = ()


class _Quoted(str):
    """Text written in quotes even where YAML needs none."""

    __slots__ = ()


def dump_spec(spec: Spec) -> str:
    """Return a whole spec as YAML, the schema comment first. `parse_spec` reads the same spec back."""
    project = {
        "name": spec.project.name,
        "package": spec.project.package,
        "timezone": spec.project.timezone,
    }
    if spec.project.description:
        project["description"] = spec.project.description
    if spec.project.inside:
        project["inside"] = spec.project.inside
    sections = [
        f"{SCHEMA_LINE}\ntargcc: 1",
        _block("project", project),
        *_team(spec),
        *_shared(spec),
        *_alerting(spec),
        _jobs(spec.jobs),
        *([_flows(spec)] if spec.flows else []),
        *([_block("moved", spec.moved)] if spec.moved else []),
        *([_environments(spec)] if spec.environments else []),
    ]
    return "\n\n".join(sections) + "\n"


def queue_entry(name: str, queue: QueueSpec, *, quote_keys: bool = False) -> str:
    """Return an entry of `queues` on one line."""
    values = _plain(queue) if queue.pool else {"workers": queue.workers, **_plain(queue)}
    return _entry(name, values, quote_keys=quote_keys)


def job_lines(key: str, job: JobSpec, *, indent: int = 2, step: int = 2) -> list[str]:
    """Return the lines of an entry of `jobs`.

    Args:
        key: The job's key.
        job: The job.
        indent: The number of spaces before the key.
        step: The number of further spaces before the keys inside the job.
    """
    return [" " * indent + line for line in [f"{scalar(key)}:", *_body(_plain(job), step)]]


def entry_lines(key: str, value: Any, step: int = 2) -> list[str]:
    """Return the lines of one key of a job, without indentation; the value comes from ``job_values``."""
    return [line[step:] for line in _body({key: value}, step)]


def job_in_braces(key: str, job: JobSpec, *, quote_keys: bool) -> str:
    """Return an entry of `jobs` on one line, for specs written in braces or as JSON."""
    return _entry(key, _plain(job), quote_keys=quote_keys)


def job_values(job: JobSpec) -> dict[str, Any]:
    """Return the values of a job that differ from the defaults, by key; durations and dates are text, as in YAML."""
    return _plain(job)


def section_values(section: BaseModel) -> dict[str, Any]:
    """Return the values of a section that differ from the defaults, by key; durations are text, as in YAML."""
    return _plain(section)


def shown_default(value: Any) -> str:
    """Return a default value as a spec would write the value; empty text without a default."""
    return "" if value in (None, "", ()) else _inline(_yaml_value(value))


def _team(spec: Spec) -> Iterator[str]:
    """Yield `extends` and `blueprints`, the sources outside the spec."""
    if spec.extends is not None:
        yield _entry("extends", spec.extends)
    if spec.blueprints:
        yield _entry("blueprints", list(spec.blueprints))
    if spec.features:
        yield _entry("features", list(spec.features))


def _shared(spec: Spec) -> Iterator[str]:
    """Yield the sections that an extended file may contain too. A spec with `extends` yields only the sections it sets itself."""
    fields = Spec.model_fields if spec.extends is None else spec.model_fields_set
    if "database" in fields:
        yield f"database: {spec.database}"
    ways = {"mode": "embedded", "scheduler": "package", "checks": "standard", "ci": "github"}
    for key, default in ways.items():
        if key in fields and (spec.extends is not None or getattr(spec, key) != default):
            yield f"{key}: {getattr(spec, key)}"
    if "queues" in fields:
        entries = (f"  {queue_entry(name, queue)}" for name, queue in spec.queues.items())
        yield "\n".join(["queues:", *entries])
    if spec.pools and "pools" in fields:
        pools = (f"  {_entry(name, _pool(pool))}" for name, pool in spec.pools.items())
        yield "\n".join(["pools:", *pools])
    if spec.calendars and "calendars" in fields:
        yield "\n".join(["calendars:", *_calendars(spec)])
    if spec.extends is None:
        yield _block("defaults", {"retries": spec.defaults.retries, **_plain(spec.defaults)})
    elif spec.defaults.model_fields_set:
        own = spec.defaults.model_fields_set
        values = {name: _yaml_value(value) for name, value in spec.defaults if name in own}
        yield _block("defaults", values)


def _pool(pool: PoolSpec) -> dict[str, Any]:
    return {"workers": pool.workers, **_plain(pool)}


def _alerting(spec: Spec) -> Iterator[str]:
    """Yield the project's `alerts` and `oncall`."""
    for name, section in (("alerts", spec.alerts), ("oncall", spec.oncall)):
        if values := section_values(section):
            yield _block(name, values)


def _calendars(spec: Spec) -> Iterator[str]:
    for name, calendar in spec.calendars.items():
        values = _plain(calendar)
        yield f"  {scalar(name)}:" if values else f"  {scalar(name)}: {{}}"
        yield from ("  " + line for line in _body(values, 2))


def _environments(spec: Spec) -> str:
    """Return the `environments` section; each queue or job of an environment takes one line."""
    lines = ["environments:"]
    for name, place in spec.environments.items():
        values = _plain(place)
        lines.append(f"  {name}:" if values else f"  {name}: {{}}")
        for key, value in values.items():
            if key == "defaults":
                lines.append(f"    {_entry(key, value)}")
                continue
            lines.append(f"    {key}:")
            lines += [f"      {_entry(item_key, item)}" for item_key, item in value.items()]
    return "\n".join(lines)


def _jobs(jobs: Mapping[str, JobSpec]) -> str:
    if not jobs:
        return "jobs: {}"
    return "jobs:\n" + "\n\n".join("\n".join(job_lines(key, job)) for key, job in jobs.items())


def _flows(spec: Spec) -> str:
    """Return the `flows` section; each step takes one line."""
    lines = ["flows:"]
    for name, flow in spec.flows.items():
        lines += flow_lines(name, flow)
    return "\n".join(lines)


def flow_lines(name: str, flow: FlowSpec, *, indent: int = 2) -> list[str]:
    """Return the lines of an entry of `flows`; each step takes one line."""
    values = flow_values(flow)
    steps = values.pop("steps")
    lines = [f"{scalar(name)}:", *_body(values, 2), "  steps:"]
    lines += [f"    {_entry(step, step_values)}" for step, step_values in steps.items()]
    return [" " * indent + line for line in lines]


def flow_in_braces(name: str, flow: FlowSpec, *, quote_keys: bool) -> str:
    """Return an entry of `flows` on one line, for specs written in braces or as JSON."""
    return _entry(name, flow_values(flow), quote_keys=quote_keys)


def flow_values(flow: FlowSpec) -> dict[str, Any]:
    """Return the values of a flow that differ from the defaults, by key; durations and dates are text, as in YAML."""
    return _plain(flow)


def _block(key: str, values: Mapping[str, Any]) -> str:
    return "\n".join([f"{key}:", *_body(values, 2)])


def _body(values: Mapping[str, Any], step: int) -> Iterator[str]:
    """Yield lines of `key: value`; `alerts` and `params` become indented blocks."""
    for key, value in values.items():
        if key in {"alerts", "params"}:
            yield f"{' ' * step}{key}:"
            yield from (" " * step + line for line in _body(value, step))
        else:
            yield " " * step + _entry(key, value)


def _entry(key: str, value: Any, *, quote_keys: bool = False) -> str:
    shown = quoted(key) if quote_keys else key if key == "on" else scalar(key)
    return f"{shown}: {_inline(value, quote_all=quote_keys)}"


def _inline(value: Any, *, quote_all: bool = False, in_brackets: bool = False) -> str:
    match value:
        case str():
            shown = _text(value, quote_all=quote_all, in_brackets=in_brackets)
        case list():
            items = (_inline(item, quote_all=quote_all, in_brackets=True) for item in value)
            shown = f"[{', '.join(items)}]"
        case dict():
            entries = (_braced(key, item, quote_all=quote_all) for key, item in value.items())
            shown = f"{{{', '.join(entries)}}}"
        case _:
            shown = str(value).lower()  # a number, true or false
    return shown


def _braced(key: str, value: Any, *, quote_all: bool) -> str:
    shown = quoted(key) if quote_all else key if key == "on" else scalar(key)
    return f"{shown}: {_inline(value, quote_all=quote_all, in_brackets=True)}"


def _text(text: str, *, quote_all: bool, in_brackets: bool) -> str:
    if quote_all or isinstance(text, _Quoted):
        return quoted(text)
    return text if isinstance(text, _Bare) else scalar(text, in_brackets=in_brackets)


def _plain(model: BaseModel) -> dict[str, Any]:
    """Return the values that differ from the defaults as YAML values, in the order of the model's fields."""
    keys = _ALWAYS_SAID.get(type(model), frozenset())
    fields = type(model).model_fields
    return {
        key: _Quoted(value) if key == "cron" else _yaml_value(value)
        for key, value in model
        if key in keys or value != fields[key].get_default(call_default_factory=True)
    }


def _yaml_value(value: Any) -> Any:
    shown = value
    match value:
        case BaseModel():
            shown = _plain(value)
        case timedelta():
            shown = _Bare(format_duration(value))
        case datetime():
            precise = value.second or value.microsecond
            shown = _Quoted(value.isoformat(timespec="auto" if precise else "minutes"))
        case Param():
            shown = str(value)
        case tuple():
            shown = [_yaml_value(item) for item in value]
        case dict():
            shown = {key: _yaml_value(item) for key, item in value.items()}
    return shown
