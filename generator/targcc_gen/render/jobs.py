"""Render a job's module and its test from its blueprint."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from targcc_gen.names import JobName
from targcc_gen.render.blueprints import (
    blueprint,
    broken_signature,
    own_parameters,
    printed,
    with_defaults,
)
from targcc_gen.render.decorator import decorator, decorator_names, instant
from targcc_gen.render.literals import docstring, is_visible, pyliteral
from targcc_gen.render.python_source import tidy, with_head
from targcc_gen.render.tree import JobFacts, Owner, TreeFile

if TYPE_CHECKING:
    from targcc_gen.spec import JobSpec, Param, Spec


# Parameters as Python source, in the signature of `execute` and in the call of its test.

Imports = frozenset[tuple[str, str]]
"""Imports of a piece of source: pairs of module and name."""


@dataclass(frozen=True)
class _Type:
    """The source text of a parameter's type.

    Attributes:
        annotation: The annotation of a required parameter.
        with_default: The annotation of a parameter with a default: a read-only type, so that no job can change the default.
        sample: A value for a test.
        imports: Imports of `annotation`.
        default_imports: Imports of `with_default`.
        sample_imports: Imports of `sample` beyond `imports`.
    """

    annotation: str
    sample: str
    imports: Imports = frozenset()
    with_default: str | None = None
    default_imports: Imports | None = None
    sample_imports: Imports = frozenset()


_ANY = ("typing", "Any")
_TYPES = {
    "str": _Type("str", '"text"'),
    "int": _Type("int", "1"),
    "float": _Type("float", "1.5"),
    "bool": _Type("bool", "True"),
    "date": _Type("date", "date(2026, 1, 1)", frozenset({("datetime", "date")})),
    "datetime": _Type(
        "datetime",
        "datetime(2026, 1, 1, tzinfo=UTC)",
        frozenset({("datetime", "datetime")}),
        sample_imports=frozenset({("datetime", "UTC")}),
    ),
    "uuid": _Type("UUID", "UUID(int=1)", frozenset({("uuid", "UUID")})),
    "list[str]": _Type(
        "list[str]",
        '["text"]',
        with_default="Sequence[str]",
        default_imports=frozenset({("collections.abc", "Sequence")}),
    ),
    "list[int]": _Type(
        "list[int]",
        "[1]",
        with_default="Sequence[int]",
        default_imports=frozenset({("collections.abc", "Sequence")}),
    ),
    "dict": _Type(
        "dict[str, Any]",
        '{"key": 1}',
        frozenset({_ANY}),
        with_default="Mapping[str, Any]",
        default_imports=frozenset({_ANY, ("collections.abc", "Mapping")}),
    ),
}

# Types whose defaults are calls. Such a default goes to a constant, because a call in a signature reads as if it ran at each call.
_IN_CONSTANTS = ("datetime", "uuid")


@dataclass(frozen=True)
class Parameters:
    """The parameters of a job as source.

    Attributes:
        declared: Declarations for a signature: `user_id: int` and `since: date = date(2026, 1, 1)`.
        arguments: `user_id=user_id, since=since`.
        samples: `user_id=1`: sample values of the required parameters.
        constants: Lines that define constants for defaults.
        imports: Imports of the signature and the constants.
        sample_imports: Imports of the samples.
    """

    declared: tuple[str, ...]
    arguments: str
    samples: str
    constants: tuple[str, ...]
    imports: Imports
    sample_imports: Imports


def parameters_of(params: Mapping[str, Param]) -> Parameters:
    """Return the source of a job's parameters, in the spec's order."""
    required = {name: _TYPES[param.type] for name, param in params.items() if param.required}
    samples = [f"{name}={kind.sample}" for name, kind in required.items()]
    sample_imports = [
        kind.imports | kind.sample_imports for kind in required.values() if "(" in kind.sample
    ]
    return Parameters(
        declared=tuple(_declared(name, param) for name, param in params.items()),
        arguments=", ".join(f"{name}={name}" for name in params),
        samples=", ".join(samples),
        constants=tuple(_constants(params)),
        imports=frozenset().union(*(_imports(param) for param in params.values())),
        sample_imports=frozenset().union(*sample_imports),
    )


def _declared(name: str, param: Param) -> str:
    kind = _TYPES[param.type]
    if param.required:
        return f"{name}: {kind.annotation}"
    default = _constant(name) if param.type in _IN_CONSTANTS else pyliteral(_frozen(param.default))
    return f"{name}: {kind.with_default or kind.annotation} = {default}"


def _frozen(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def _constants(params: Mapping[str, Param]) -> list[str]:
    return [
        f"{_constant(name)} = {pyliteral(param.default)}"
        for name, param in params.items()
        if param.type in _IN_CONSTANTS and not param.required
    ]


def _constant(name: str) -> str:
    return f"DEFAULT_{name.upper()}"


def _imports(param: Param) -> Imports:
    kind = _TYPES[param.type]
    if param.required or kind.default_imports is None:
        return kind.imports
    return kind.default_imports


# The values of a blueprint's templates. All logic is here; a template only prints.


@dataclass(frozen=True)
class JobContext:
    """The variable `job` of a blueprint's `job.py.jinja` and `test.py.jinja`.

    Attributes:
        key: `DailyReport`.
        class_name: `DailyReportJob`.
        module: `daily_report`.
        display_name: Any text; print it as `{{ job.display_name | pyliteral }}`.
        docstring: The class's docstring as a literal; later lines have an indent of 4.
        module_docstring: The module's docstring as a literal, without an indent.
        decorator: `@job("0 2 * * *", retries=5)`.
        parameters: Keyword-only parameters for the end of a signature: `, *, user_id: int`. Empty without parameters.
        parameters_after_star: Parameters for a signature that has a `*` already, one a line: `,`, and below it `user_id: int`.
        arguments: The arguments passed on: `, user_id=user_id`.
        test_arguments: Sample values of the required parameters: `, user_id=1`.
        procedure: The name of a stored procedure, any text; print it as `{{ job.procedure | pyliteral }}`.
        constants: Lines that the module needs before its first class.
        imports: Imports of the decorator and the parameters, beyond the template's own imports.
        test_imports: Imports of `test_arguments`.
    """

    key: str
    class_name: str
    module: str
    display_name: str
    docstring: str
    module_docstring: str
    decorator: str
    parameters: str
    parameters_after_star: str
    arguments: str
    test_arguments: str
    procedure: str
    constants: tuple[str, ...]
    imports: Imports
    test_imports: Imports


def job_context(spec: Spec, key: str, *, without: frozenset[str] = frozenset()) -> JobContext:
    """Build the variable `job` for the templates of a job's blueprint.

    Args:
        spec: A spec that has the job.
        key: The job's key.
        without: Parameters that the blueprint declares itself.
    """
    job, name = spec.jobs[key], JobName(key)
    params = {name: param for name, param in job.params.items() if name not in without}
    parameters = parameters_of(params)
    text = _sentence(job.description) or blueprint(job.blueprint).docstring
    scheduler = f"{spec.project.package}.scheduler"
    signature = ", ".join(parameters.declared)
    return JobContext(
        key=key,
        class_name=name.class_name,
        module=name.module,
        display_name=job.display_name or name.display,
        docstring=docstring(text, indent=4),
        module_docstring=docstring(text),
        decorator=decorator(
            job,
            described=_described(job.description),
            aliases=spec.earlier_names(key),
            parents=tuple(map(spec.stable_name, spec.parents(key))),
        ),
        parameters=f", *, {signature}" if signature else "",
        parameters_after_star="".join(f",\n        {item}" for item in parameters.declared),
        arguments=_after_comma(parameters.arguments),
        test_arguments=_after_comma(parameters.samples),
        procedure=job.procedure or f"SP_{[key, *spec.earlier_names(key)][-1]}",
        constants=parameters.constants,
        imports=parameters.imports | {(scheduler, item) for item in decorator_names(job)},
        test_imports=parameters.sample_imports,
    )


def _after_comma(source: str) -> str:
    return f", {source}" if source else ""


def _sentence(text: str) -> str:
    """Return a description as text for a docstring: its first paragraph gets a capital and a full stop.

    Returns:
        The text; empty if the description has no visible character.
    """
    text = text.strip()
    if not any(is_visible(character) and not character.isspace() for character in text):
        return ""
    first, *rest = re.split(r"(\n\s*\n)", text, maxsplit=1)
    first = first.rstrip(",;: ") or first
    first += "" if first.endswith((".", "!", "?")) else "."
    if first[:1].isascii():
        first = first[:1].upper() + first[1:]
    return "".join([first, *rest])


def _described(description: str) -> bool:
    """Return whether the docstring's first line holds the whole description, apart from a capital and a full stop."""
    return " ".join(description.split()) == description and is_visible(description)


# Module and test.


def job_files(spec: Spec, key: str) -> tuple[TreeFile, TreeFile]:
    """Return a job's module and its test."""
    module, test = _sources(spec, key)
    job, path = spec.jobs[key], module_path(spec, key)
    facts = JobFacts(
        key,
        spec.project.package,
        job.blueprint,
        defaults=_defaults(spec, key),
        keep=job.keep,
        as_blueprint=lambda name: _as_blueprint(spec, key, name),
    )
    return (
        TreeFile(path, module, Owner.SCAFFOLD, job=facts, summary=schedule_words(job)),
        TreeFile(test_path(key), test, Owner.SCAFFOLD, test_of=path),
    )


def _sources(spec: Spec, key: str) -> tuple[bytes, bytes]:
    job = spec.jobs[key]
    own = _own_parameters(spec, key) if job.params else {}
    shared = {name: param for name, param in job.params.items() if name in own}
    context = job_context(spec, key, without=frozenset(shared))
    package = spec.project.package
    module = with_head(
        _printed(spec, context, f"{job.blueprint}/job.py.jinja"),
        package,
        context.imports,
        context.constants,
    )
    test = with_head(
        _printed(spec, context, f"{job.blueprint}/test.py.jinja"), package, context.test_imports
    )
    if shared:
        module = with_defaults(
            module, {name: pyliteral(param.default) for name, param in shared.items()}
        )
    return tidy(broken_signature(module)).encode(), tidy(test).encode()


def _defaults(spec: Spec, key: str) -> dict[str, Any]:
    """Map each argument of `@job` to the value a job inherits from the project.

    `after` maps a parent's key to the parent's stable name, where the two differ.
    """
    names = {parent: spec.stable_name(parent) for parent in spec.parents(key)}
    named = {parent: name for parent, name in names.items() if parent != name}
    defaults = {"timezone": spec.project.timezone, **vars(spec.defaults), "after": named or None}
    return {name: value for name, value in defaults.items() if value is not None}


def _as_blueprint(spec: Spec, key: str, name: str) -> bytes | None:
    """Return the job's module rendered by another blueprint; None if the job's parameters do not fit that blueprint."""
    job = spec.jobs[key].model_copy(update={"blueprint": name})
    other = spec.model_copy(update={"jobs": {**spec.jobs, key: job}})
    try:
        return _sources(other, key)[0]
    except (SyntaxError, ValueError):
        return None


def module_path(spec: Spec, key: str) -> str:
    """Return the path of a job's module."""
    return f"src/{spec.project.package}/jobs/{JobName(key).module}.py"


def test_path(key: str) -> str:
    """Return the path of a job's test."""
    return test_of_module(JobName(key).module)


def test_of_module(module: str) -> str:
    """Return the path of the test for a module below `jobs`."""
    return f"tests/jobs/test_{module}.py"


def schedule_words(job: JobSpec) -> str:
    """Describe a job's schedule in words: `at 02:00 every day`."""
    from targcc_gen.spec import format_duration

    if job.cron is not None:
        from targcc_gen.spec.times import cron_schedule

        return cron_schedule(job.cron).describe()
    if job.every is not None:
        anchor = f" from {instant(job.anchor)}" if job.anchor else ""
        after = {"completion": " after it finished", "start": " after it started"}
        counted = after.get(str(job.after), "")
        return f"every {format_duration(job.every)}{anchor}{counted}"
    if isinstance(job.after, tuple):
        return f"after each run of {' and '.join(job.after)} that succeeds"
    if job.at is not None:
        return f"once, at {instant(job.at)}"
    return {"manual": "when somebody starts it", "delayed": "when code schedules it"}.get(
        job.type or "", "when code enqueues it"
    )


def _printed(spec: Spec, context: JobContext, template: str) -> str:
    values: dict[str, Any] = {
        "job": context,
        "package": spec.project.package,
        "project": spec.project,
    }
    blueprint, _, part = template.partition("/")
    source = printed(blueprint, part, values)
    return source if spec.project.inside is None else _without_services(source, spec)


def _without_services(source: str, spec: Spec) -> str:
    """Return a blueprint's output with the services from the scheduler's module: an app may have a `services` of its own."""
    package = re.escape(spec.project.package)
    lines = rf"(?m)^from {package}\.scheduler import ([\w, ]+)\nfrom {package}\.services import ([\w, ]+)$"

    def joined(match: re.Match[str]) -> str:
        names = sorted({*match[1].split(", "), *match[2].split(", ")})
        return f"from {spec.project.package}.scheduler import {', '.join(names)}"

    return re.sub(lines, joined, source)


def _own_parameters(spec: Spec, key: str) -> dict[str, str]:
    """Map each parameter that the blueprint's `execute` declares itself to its type."""
    job = spec.jobs[key]
    context = job_context(spec, key, without=frozenset(job.params))
    source = _printed(spec, context, f"{job.blueprint}/job.py.jinja")
    return {
        argument.arg: ast.unparse(argument.annotation)
        for argument, _ in own_parameters(source)
        if argument.annotation
    }
