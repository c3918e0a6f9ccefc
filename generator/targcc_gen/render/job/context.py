"""What a blueprint's templates are told about a job. Everything is computed here: a template only prints."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from targcc_gen.names import JobName
from targcc_gen.render.job.blueprints import blueprint
from targcc_gen.render.job.decorator import decorator, decorator_names
from targcc_gen.render.job.parameters import Imports, parameters_of
from targcc_gen.render.literals import docstring, is_visible

if TYPE_CHECKING:
    from targcc_gen.spec import Spec


@dataclass(frozen=True)
class JobContext:
    """The variable `job` of a blueprint's `job.py.jinja` and `test.py.jinja`.

    Attributes:
        key: `DailyReport`.
        class_name: `DailyReportJob`.
        module: `daily_report`.
        display_name: Any text; print it as `{{ job.display_name | pyliteral }}`.
        docstring: The class's docstring as a literal, its later lines indented by 4.
        module_docstring: The same for the module.
        decorator: `@job("0 2 * * *", retries=5)`.
        parameters: The job's arguments for the end of a signature, by keyword: `, *, user_id: int`. Empty for none.
        parameters_after_star: The same for a signature that has a `*` already, and one parameter a line: `,`, and below it `user_id: int`.
        arguments: The arguments passed on: `, user_id=user_id`.
        test_arguments: Values for those that have no default: `, user_id=1`.
        procedure: The name of a stored procedure, any text; print it as `{{ job.procedure | pyliteral }}`.
        constants: Lines that the module needs before its first class.
        imports: What the decorator and the parameters need besides what the template imports.
        test_imports: What `test_arguments` need.
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
    """What the blueprint of a job is told about it.

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
        parameters_after_star="".join(f",\n        {one}" for one in parameters.declared),
        arguments=_after_comma(parameters.arguments),
        test_arguments=_after_comma(parameters.samples),
        procedure=job.procedure or f"SP_{[key, *spec.earlier_names(key)][-1]}",
        constants=parameters.constants,
        imports=parameters.imports | {(scheduler, one) for one in decorator_names(job)},
        test_imports=parameters.sample_imports,
    )


def _after_comma(source: str) -> str:
    return f", {source}" if source else ""


def _sentence(text: str) -> str:
    """A description as a docstring is written: its first paragraph, which is one line there, has a capital and a full stop.

    Empty for nothing visible.
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
    """Whether the docstring's first line is the whole description, but for a capital and a full stop."""
    return " ".join(description.split()) == description and is_visible(description)
