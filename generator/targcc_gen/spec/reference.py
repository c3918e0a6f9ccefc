"""Write the manual's spec reference from the models; ``docs/references.py`` calls this module at each build of the manual."""

from __future__ import annotations

import sys
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from targcc_gen.spec.blueprint_names import BLUEPRINTS
from targcc_gen.spec.dump import shown_default
from targcc_gen.spec.json_schema import spec_schema
from targcc_gen.spec.models import FlowSpec, FlowStepSpec, JobSpec, Spec
from targcc_gen.spec.params import PARAM_EXAMPLES
from targcc_gen.spec.parts import (
    AlertingSpec,
    AlertsSpec,
    CalendarSpec,
    DefaultsSpec,
    DigestSpec,
    EnvironmentDefaults,
    EnvironmentFlow,
    EnvironmentJob,
    EnvironmentPool,
    EnvironmentQueue,
    EnvironmentSpec,
    LimitSpec,
    MisfireSpec,
    OnCallSpec,
    PersonSpec,
    PoolSpec,
    ProjectSpec,
    QueueSpec,
    QuietSpec,
    ShiftSpec,
    StepSpec,
)

_SECTIONS: tuple[tuple[str, type[BaseModel]], ...] = (
    ("The file", Spec),
    ("`project`", ProjectSpec),
    ("`queues`: each queue", QueueSpec),
    ("`pools`: each pool", PoolSpec),
    ("`calendars`: each calendar", CalendarSpec),
    ("`defaults`", DefaultsSpec),
    ("`jobs`: each job", JobSpec),
    ("`misfire` of a job", MisfireSpec),
    ("`limit` of a job", LimitSpec),
    ("`alerts` of a job", AlertsSpec),
    ("`flows`: each flow", FlowSpec),
    ("`steps` of a flow: each step", FlowStepSpec),
    ("`alerts` of the project", AlertingSpec),
    ("`quiet` of the project's alerts: each entry", QuietSpec),
    ("`digest` of the project's alerts", DigestSpec),
    ("`escalation` of the project's alerts: each step", StepSpec),
    ("`oncall`", OnCallSpec),
    ("`people` of `oncall`: each person", PersonSpec),
    ("`rota` of `oncall`: each line", ShiftSpec),
    ("`environments`: each environment", EnvironmentSpec),
    ("`defaults` of an environment", EnvironmentDefaults),
    ("`queues` of an environment", EnvironmentQueue),
    ("`pools` of an environment", EnvironmentPool),
    ("`jobs` of an environment", EnvironmentJob),
    ("`flows` of an environment", EnvironmentFlow),
)

_INTRODUCTION = """\
# The spec: `targcc.yaml`

A project is made from one YAML file. `targcc-gen schema` prints its JSON Schema; a generated project has that in
`.targcc/schema.json`, and an editor that understands YAML completes and checks with it.

```yaml
# yaml-language-server: $schema=.targcc/schema.json
targcc: 1

project:
  name: acme-jobs
  timezone: Europe/London

jobs:
  DailySalesReport:
    cron: "0 2 * * *"
    description: Mails yesterday's sales to the managers
    alerts: {on: [failure, "slower than 5m"], email: [ops@example.com]}
```

* An unknown key is an error that says which key is most like it, and all errors are shown at once, each with its line.
* `yes`, `no` and `on` are words as in YAML 1.2; only `true` and `false` are truth values. A cron expression needs quotes,
  because `*` means something else to YAML. Tags, merge keys (`<<`) and second documents are refused; anchors work.
* A **duration** is written with units, largest first: `90s`, `15m`, `1h30m`, `2d`.
* What no cron expression says is an **interval**: `every: 3d` with `anchor: "2026-01-02T05:10"` runs first then, and every third day after it; without an
  anchor it is counted from Monday, 1 January 2001. Whole days keep their time of the clock when clocks change, hours and minutes are time that passes.
  With `after: completion` or `after: start` it is counted from the run before. `targcc-gen cron --every 3d --anchor 2026-01-02T05:10` shows the next runs.
* A **job's name** is made of letters and digits: `DailyReport`, `DailyReportJob`, `daily_report` and `"Daily Report"` are
  one job, with the class `DailyReportJob` in `jobs/daily_report.py`. Names of Python keywords, of standard modules and of
  Windows devices are refused, and so are two names that differ only in upper and lower case.
* The file is UTF-8 and at most 5 MB.
"""

_BY_EXAMPLE = {
    "90s": "duration",
    "06:00": "time of the day",
    "100/min": "number in a time",
    "completion": "job, or list of jobs; `completion`, `start`",
    "customer_id": "parameter, list of parameters, `true`",
    "queued": "`queued`, `running`, or a duration",
    "debounce 30s": "`skip`, `replace`, or `debounce` or `throttle` with a duration",
}
_TYPES = {
    "string": "text",
    "boolean": "`true` or `false`",
    "array": "list",
    "object": "mapping",
}


def reference() -> str:
    """Return the whole page as Markdown."""
    definitions = spec_schema()["$defs"]
    pages = [_INTRODUCTION]
    for title, model in _SECTIONS:
        properties = definitions.get(model.__name__, {}).get("properties", {})
        pages.append(f"## {title}\n\n{model.__doc__}\n\n{_table(model, properties)}")
    return "\n".join([*pages, _parameters()])


def _table(model: type[BaseModel], properties: dict[str, Any]) -> str:
    rows = ["| key | value | default | |", "|---|---|---|---|"]
    for key, field in model.model_fields.items():
        value = _kind(properties.get(key, {}), key)
        cells = (f"`{key}`", value, _default(field), _cell(field.description or ""))
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def _kind(schema: dict[str, Any], key: str) -> str:
    """Describe the values of a key in a few words, for the table's `value` column."""
    named = {
        "cron": "cron expression", "timezone": "time zone", "params": "mapping", "at": "date and time",
        "anchor": "date and time", "project": "mapping", "queues": "mapping", "defaults": "mapping", "jobs": "mapping",
        "environments": "mapping", "extends": "path", "blueprints": "list of folders", "features": "list of names", "misfire": "mapping", "alerts": "mapping", "database": "`sqlite`, `postgresql` or `mssql`", "mode": "`embedded` or `pages`", "scheduler": "`package` or `vendored`", "targcc": "`1`",
        "on": "list of events", "email": "list of addresses", "keep": "list of arguments", "moved": "mapping",
        "days": "list of days", "quiet": "list of mappings", "escalation": "list of mappings", "rota": "list of mappings",
        "flows": "mapping", "steps": "mapping", "arguments": "mapping", "after": "step, or list of steps", "when": "condition", "for_each": "list", "calendars": "mapping", "calendar": "name, or list of names", "include": "name, or list of names",
        "off": "text, or list of texts", "work": "date, or list of dates", "blackouts": "text, or list of texts", "ics": "path",
    }  # fmt: skip
    for example, words in _BY_EXAMPLE.items():
        if example in schema.get("examples", ()):
            return words
    if key in named:
        return named[key]
    if key == "blueprint":
        return f"{', '.join(f'`{word}`' for word in BLUEPRINTS)}, or a team's"
    if "enum" in schema:
        return ", ".join(f"`{word}`" for word in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    return _number(schema) or _TYPES[schema.get("type", "object")]


def _number(schema: dict[str, Any]) -> str | None:
    if schema.get("type") != "integer":
        return None
    return f"{schema['minimum']} to {schema['maximum']}"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**required**"
    if field.default_factory is not None:
        return ""
    shown = shown_default(field.default)
    return f"`{shown}`" if shown else ""


_DEFAULTS = (
    "A job with a schedule needs a default value for each of its parameters, since nobody is there to give one."
    " A text may stand in quotes: `str = ''` is the empty one."
)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _parameters() -> str:
    lines = [
        "## Parameters",
        "",
        _DEFAULTS,
        "",
        "| type | with a default value |",
        "|---|---|",
        *(f"| `{kind}` | `{example}` |" for kind, example in PARAM_EXAMPLES.items()),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(reference())
