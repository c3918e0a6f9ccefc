"""Write the manual's generated pages into ``docs/reference``: commands, settings, spec, API, events, errors, layers, guides, changelog.

    uv run python docs/references.py

`conf.py` calls :func:`write_all` at each build. Git ignores the pages.
"""

from __future__ import annotations

import ast
import inspect
import json
import os
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from targcc_scheduler.core.error_codes import Explanation

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
FOLDER = DOCS / "reference"
SCHEDULER = ROOT / "templates" / "scheduler" / "targcc_scheduler"
ENVIRONMENT_FILE = ROOT / "templates" / "project" / ".env.example.jinja"
PAGES = (
    *("targcc-gen", "targcc", "spec", "settings", "api", "events", "errors", "layers"),
    *("job-guide", "migration-guide", "security-guide", "changelog"),
)
"""Names of all generated pages, without ``.md``."""


def write_all(folder: Path = FOLDER) -> None:
    """Write each page whose text has changed, so that an incremental build reads no other page anew."""
    for name, text in pages().items():
        file = folder / f"{name}.md"
        if not file.is_file() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")


def pages() -> dict[str, str]:
    """Return the Markdown of each page by its name."""
    import layers
    from targcc_gen.cli.reference import generator_page
    from targcc_gen.spec.reference import reference

    targcc, schema, event_types = project_pages()
    return {
        "targcc-gen": generator_page(),
        "targcc": targcc,
        "spec": reference(),
        "settings": settings_page(),
        "api": api_page(schema),
        "events": events_page(event_types),
        "errors": errors_page(),
        "layers": layers.page(),
        "job-guide": guide("JOB_DEVELOPMENT_GUIDE.md"),
        "migration-guide": guide("MIGRATION_GUIDE.md"),
        "security-guide": guide("security.md"),
        "changelog": changelog(),
    }


# What only a rendered project can tell: one is rendered, and a process of its own imports it.


def project_pages() -> tuple[str, dict[str, Any], dict[str, str]]:
    """Return the page of ``targcc``, the OpenAPI description, and the events of runs by name."""
    with tempfile.TemporaryDirectory(prefix="targcc-manual-") as folder:
        root = Path(folder) / "acme-jobs"
        package = _render(root)
        done = subprocess.run(
            [sys.executable, str(Path(__file__).resolve()), package],
            cwd=root,
            env=os.environ
            | {
                "PYTHONPATH": os.pathsep.join([str(root / "src"), *sys.path]),
                "PYTHONUTF8": "1",
                "TARGCC_MODE": "off",
            },
            capture_output=True,
            check=True,
            encoding="utf-8",
        )
    told = json.loads(done.stdout)
    return told["targcc"], told["schema"], told["events"]


def _render(root: Path) -> str:
    """Render the project of the example ``acme``, and return the import name of its package."""
    from targcc_gen.assets import examples
    from targcc_gen.render import render_project
    from targcc_gen.spec import load_spec
    from targcc_gen.sync import apply, make_plan

    spec = load_spec(examples() / "acme" / "targcc.yaml")
    apply(make_plan(render_project(spec), root))
    return spec.project.package


def _tell_project(package: str) -> None:
    """Print what the rendered project in the current folder says about commands, API and events."""
    import importlib

    from targcc_gen.cli import reference

    main = importlib.import_module(f"{package}.scheduler").main
    events = importlib.import_module("targcc_scheduler")
    from targcc_scheduler.web.openapi import schema

    told = {
        "targcc": reference.page(main, "targcc", reference.PROJECT),
        "schema": schema(),
        "events": {
            name: inspect.getdoc(getattr(events, name)) or ""
            for name in dir(events)
            if re.fullmatch(r"Run(Succeeded|Failed|Retrying|Cancelled|Missed|Skipped)", name)
        },
    }
    sys.stdout.write(json.dumps(told))


# Settings


def settings_page() -> str:
    """Return the table of all settings: name, default, meaning."""
    rows = [
        "| variable | default | meaning |",
        "|---|---|---|",
        *(
            f"| `TARGCC_{name.upper()}` | {default} | {text} |"
            for name, default, text in settings()
        ),
        "| `TARGCC_MANUAL_URL` |  | The address of a copy of the manual, such as `https://docs.example.com/targcc/`: messages of errors link to it. Only the process's environment sets it, not `.env`. |",
        "| `TARGCC_ENVIRONMENT` |  | The entry of `environments` in `targcc.yaml` that this process runs in. Only the process's environment sets it, not `.env`: see [teams](../teams.md). |",
    ]
    return "\n".join(
        [
            "# Settings",
            "",
            "Environment variables, or lines of `.env` in the folder that a process starts in. The environment goes before `.env`. Durations are seconds unless the name says otherwise.",
            "`TARGCC_DATABASE_URL`, passwords and keys take a reference: `${NAME}`, or `file:/run/secrets/name`.",
            "",
            *rows,
            "",
            "The services of a new project also read `APP_DATABASE_URL`, `APP_DATABASE_THREADS` and `APP_OUTBOX`; `.env.example` of the project explains them.",
            "",
        ]
    )


def settings() -> Iterator[tuple[str, str, str]]:
    """Each setting: name, default, meaning. The meaning is its docstring, else its comment in ``.env.example``."""
    from targcc_scheduler.settings import Settings

    source = (SCHEDULER / "settings.py").read_text(encoding="utf-8")
    comments = _comments_of_settings()
    body = next(
        node.body
        for node in ast.parse(source).body
        if isinstance(node, ast.ClassDef) and node.name == "Settings"
    )
    for node, following in zip(body, [*body[1:], None], strict=True):
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        name = node.target.id
        text = comments.get(f"TARGCC_{name.upper()}", "")
        if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
            text = str(following.value.value)
        field = Settings.model_fields[name]
        default = "" if field.default_factory else _default(field.default)
        yield name, default, _cell(text.replace("``", "`"))


def _default(value: object) -> str:
    value = value.get_secret_value() if hasattr(value, "get_secret_value") else value
    if value in ("", None):
        return ""
    text = json.dumps(value).strip('"')
    return f"`{text}`"


def _comments_of_settings() -> dict[str, str]:
    """Return the comment above each setting in ``.env.example``; settings in a row share theirs."""
    comments: dict[str, str] = {}
    above: list[str] = []
    before = ""
    for line in ENVIRONMENT_FILE.read_text(encoding="utf-8").splitlines():
        if setting := re.match(r"#(TARGCC_\w+)=", line):
            comments[setting[1]] = " ".join(above)
        elif line.startswith("# ") and not line.endswith("---"):
            above = [*above, line[2:]] if before.startswith("# ") else [line[2:]]
        else:
            above = []
        before = line
    return comments


# API


def api_page(schema: dict[str, Any]) -> str:
    """Return the page of the REST API: each operation with its parameters and statuses."""
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            tag = (operation.get("tags") or ["other"])[0]
            groups[tag].append(_operation(method.upper(), path, operation))
    parts = [
        "# REST API",
        "",
        (
            "Addresses stand below the prefix of the pages (`/jobs`), so `/api/runs` is `https://jobs.example.com/jobs/api/runs`; a project of its own also answers at `/api/runs`."
            " Send a token as `Authorization: Bearer …`; make one with `targcc token create NAME`."
            " A running server shows the same as a page at `/jobs/api/docs`, and as OpenAPI at `/jobs/api/openapi.json`."
        ),
        "",
        "* Every POST takes `Idempotency-Key`: a request that is repeated within 24 hours gets the first answer and changes nothing.",
        "* A change takes `If-Match` with the `ETag` of what it changes, and answers 412 when somebody else was faster. A GET takes `If-None-Match`.",
        "* A list has its next page in the header `Link`. `?fields=id,state` leaves other fields out.",
        "* Any operation may also answer 304, 400, 401, 403, 412, 413, 421, 422 or 503.",
        "* An error is a problem document (RFC 9457): see [errors](errors.md#problems-of-the-api).",
        "",
    ]
    for tag in sorted(groups):
        parts += [f"## {tag}", "", *groups[tag]]
    return "\n".join(parts)


_SHARED_STATUSES = {"304", "400", "401", "403", "412", "413", "421", "422", "503"}
_SHARED_PARAMETERS = {"Idempotency-Key", "If-Match", "If-None-Match", "fields"}


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    text = operation.get("description") or operation.get("summary", "")
    lines = [f"### `{method} {path}`", "", _prose(text)]
    rows = [
        f"| `{parameter['name']}` | {parameter['in']} | {_cell(parameter.get('description', ''))} |"
        for parameter in operation.get("parameters", ())
        if parameter["name"] not in _SHARED_PARAMETERS
    ]
    if rows:
        lines += ["", "| parameter | in | |", "|---|---|---|", *rows]
    statuses = ", ".join(sorted(set(operation["responses"]) - _SHARED_STATUSES))
    body = _body(operation)
    return "\n".join([*lines, "", f"{body}Statuses: {statuses}.", ""])


def _body(operation: dict[str, Any]) -> str:
    contents = operation.get("requestBody", {}).get("content", {})
    return f"Body: {', '.join(f'`{media}`' for media in contents)}. " if contents else ""


# Events


def events_page(types: dict[str, str]) -> str:
    """Return the page of events: streams, webhooks and handlers."""
    rows = [
        f"| `on_{name[3:].lower()}` | `{name}` | {_cell(text.splitlines()[0])} |"
        for name, text in sorted(types.items())
    ]
    return "\n".join(
        [
            "# Events",
            "",
            "Three ways to hear of runs. [Live](../live.md) and [hooks](../hooks.md) have examples and delivery rules.",
            "",
            "## Streams",
            "",
            "| address | events |",
            "|---|---|",
            "| `GET /api/runs/{id}/events` | `run`: state or progress changed; `log`: a line; `end`: the run is over and the stream ends |",
            "| `GET /api/events` | `run`: a run changed its state; `gap`: more was missed than the stream repeats |",
            "| `GET /api/batches/{id}/events` | `batch`: a count or the state changed; `end` |",
            "| `GET /api/flows/{id}/events` | `flow`: a step or the state changed; `end` |",
            "",
            "## Webhooks",
            "",
            "`type` is `run.succeeded`, `run.failed`, `run.cancelled`, `run.missed` or `run.skipped`. Messages are signed as Standard Webhooks.",
            "",
            "## Handlers in code",
            "",
            "| decorator | event | |",
            "|---|---|---|",
            *rows,
            "",
        ]
    )


# Errors


def errors_page() -> str:
    """Return the page of errors: exit statuses, exceptions, problems of the API, and codes with their texts."""
    from targcc_scheduler.web.problems import CODES

    return "\n".join(
        [
            "# Errors",
            "",
            "Find a code below, or a message without one in [troubleshooting](../troubleshooting.md).",
            "",
            "## Exit statuses",
            "",
            "| status | `targcc-gen` | `targcc` |",
            "|---|---|---|",
            "| 0 | done, or nothing to do | done |",
            "| 1 | `--check` found a difference, or `doctor` found a fault | the run that the command waited for did not succeed; `doctor` found a fault |",
            "| 2 | wrong input, nothing was written | impossible; the message says why |",
            "| 3 | a person must decide, nothing was written | |",
            "",
            "A message begins with the code of its kind, as in `error[TS102]`, and its last line says how to look the code up. A code keeps its meaning over releases.",
            "`targcc explain TS102` and `targcc-gen explain TG201` print the texts of this page without a network. `TARGCC_MANUAL_URL` names a copy of this manual: messages then end with the address of their code.",
            "",
            "`targcc-gen … --json` prints each error with `code`, `message`, `file`, `line`, `column` and `hint`, the code of this page in `error_code` and its address in `manual`; `targcc-gen schema errors` prints the schema.",
            "",
            "## Exceptions",
            "",
            "Import them from `<package>.scheduler`, or from `targcc_scheduler.core.errors`.",
            "",
            "| exception | code | meaning |",
            "|---|---|---|",
            *(
                f"| `{name}` | {_link(code) if code else ''} | {_cell(text)} |"
                for name, code, text in exceptions()
            ),
            "",
            "## Problems of the API",
            "",
            "`type` is `urn:targcc:problem:` and a name. The type and the `code` of a problem stay the same between releases; `manual` is the address of the code.",
            "",
            "| type | code | status |",
            "|---|---|---|",
            *(
                f"| `{kind}` | {_link(CODES[kind])} | {', '.join(map(str, sorted(statuses)))} |"
                for kind, statuses in problems()
            ),
            "",
            "## Codes of targcc-gen",
            "",
            *_codes("TG"),
            "## Codes of the scheduler",
            "",
            *_codes("TS"),
        ]
    )


def _codes(program: str) -> Iterator[str]:
    """Yield the lines of a program's codes: each as a heading, with its meaning, an example and the next step."""
    for code, entry in error_codes().items():
        if code.startswith(program):
            yield from (
                f"### {code}",
                "",
                f"**{_prose(entry.title)}.** {_prose(entry.meaning)}",
                "",
            )
            yield from ("```text", entry.example, "```", "")
            yield from (f"**What to do.** {_prose(entry.action)}", "")


def error_codes() -> dict[str, Explanation]:
    """Return the explanation of each code of both programs."""
    from targcc_gen.assets import ERROR_CODES
    from targcc_scheduler.core.error_codes import explanations

    return explanations(ERROR_CODES) | explanations()


def _link(code: str) -> str:
    return f"[{code}](#{code.lower()})"


def exceptions() -> Iterator[tuple[str, str, str]]:
    """Yield the name, the code (or an empty text) and the first docstring line of each public exception of the scheduler."""
    from targcc_scheduler.core import errors

    tree = ast.parse((SCHEDULER / "core" / "errors.py").read_text(encoding="utf-8"))
    for node in tree.body:
        if not isinstance(node, ast.ClassDef) or node.name.startswith("_"):
            continue
        if text := ast.get_docstring(node):
            code = str(getattr(getattr(errors, node.name), "code", ""))
            yield node.name, code, text.partition("\n\n")[0].replace("``", "`")


def problems() -> list[tuple[str, set[int]]]:
    """Types of problems that the API answers with, and their statuses."""
    statuses: defaultdict[str, set[int]] = defaultdict(set)
    for file in sorted(SCHEDULER.rglob("*.py")):
        if "/dashboard/" in file.as_posix() or file.name == "pages.py":
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and ast.unparse(node.func).endswith("Problem")):
                continue
            if [type(value) for value in node.args[:2]] != [ast.Constant, ast.Constant]:
                continue
            status, title = (
                value.value for value in node.args[:2] if isinstance(value, ast.Constant)
            )
            [kind] = [
                keyword.value.value
                for keyword in node.keywords
                if keyword.arg == "kind" and isinstance(keyword.value, ast.Constant)
            ] or ["-".join(re.findall("[a-z]+", str(title).lower()))]
            if isinstance(status, int):
                statuses[str(kind)].add(status)
    return sorted(statuses.items())


# Texts that stand elsewhere


def guide(name: str) -> str:
    """Return a guide that the scheduler's package carries."""
    return (SCHEDULER / "docs" / name).read_text(encoding="utf-8")


def changelog() -> str:
    """Return the changelog, whose links lead into the manual."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    return text.replace("](docs/reference/", "](").replace("](docs/", "](../")


def _prose(text: str) -> str:
    return " ".join(text.split()).replace("<", "\\<")


def _cell(text: str) -> str:
    return _prose(text).replace("|", "\\|")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        _tell_project(sys.argv[1])
    else:
        write_all()
