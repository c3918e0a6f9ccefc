"""Blueprints: the templates of a job's module and test, and the parameters of their `execute`."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from targcc_gen import assets
from targcc_gen.errors import BlueprintError, UnknownBlueprintError
from targcc_gen.render.python_source import broken, fits
from targcc_gen.spec.blueprint_names import TeamBlueprint, current

if TYPE_CHECKING:
    from jinja2 import Environment


# Load blueprints.


@dataclass(frozen=True)
class Blueprint:
    """A blueprint.

    Attributes:
        name: Name of the blueprint and of its folder.
        summary: One line about the jobs that the blueprint is a start for.
        docstring: The docstring of a job that has no description.
        defaults: Values by the spec's keys that `targcc-gen job` gives a job of this kind.
        origin: `targcc-gen`, or the folder of the team's blueprint.
        source: The git repository and the commit, for a folder copied from a repository.
    """

    name: str
    summary: str
    docstring: str
    defaults: dict[str, Any]
    origin: str = "targcc-gen"
    source: str = ""


def blueprint(name: str) -> Blueprint:
    """Return the blueprint `name` of the team, or of the generator.

    Raises:
        InputError: No blueprint has this name, or the team's blueprint is invalid.
    """
    team = current().blueprints.get(name)
    return _own(name) if team is None else _of_team(team)


def _of_team(team: TeamBlueprint) -> Blueprint:
    from targcc_gen.spec.loader import parse_tree

    where = f"{team.origin}/blueprint.yaml"
    data = parse_tree(team.texts["blueprint.yaml"], where)[0].data()
    for key in ("summary", "docstring"):
        if not isinstance(data.get(key), str):
            raise BlueprintError(f"{where}: it has no {key}", hint=f'write "{key}: one sentence"')
    defaults = data.get("defaults") or {}
    if not isinstance(defaults, dict):
        raise BlueprintError(f"{where}: defaults is a mapping", hint="for example {retries: 5}")
    return Blueprint(
        team.name, data["summary"], data["docstring"], defaults, team.origin, team.source
    )


@lru_cache
def _own(name: str) -> Blueprint:
    from targcc_gen.spec.errors import nearest
    from targcc_gen.spec.loader import parse_tree

    path = assets.blueprints() / name / "blueprint.yaml"
    names = blueprint_names()
    if name not in names:
        hint = nearest(name, names) or f"use one of {', '.join(names)}"
        raise UnknownBlueprintError(f"no blueprint {name}", hint=hint)
    tree, _ = parse_tree(path.read_text(encoding="utf-8"), str(path))
    data = tree.data()
    return Blueprint(name, data["summary"], data["docstring"], data.get("defaults", {}))


def blueprint_names() -> list[str]:
    """Return the names of all blueprints, sorted."""
    own = [path.parent.name for path in assets.blueprints().glob("*/blueprint.yaml")]
    return sorted([*own, *current().blueprints])


def printed(name: str, part: str, values: Mapping[str, Any]) -> str:
    """Render a template of a blueprint. A team's template runs in a sandbox.

    Args:
        name: The blueprint.
        part: `job.py.jinja` or `test.py.jinja`.
        values: The variables of the template.

    Raises:
        InputError: The team's template is invalid.
    """
    team = current().blueprints.get(name)
    if team is None:
        return environment().get_template(f"{name}/{part}").render(values)
    from targcc_gen.render.jinja import rendered

    return rendered(f"{team.origin}/{part}", team.texts[part], values)


@lru_cache
def environment() -> Environment:
    """Return the Jinja2 environment of the generator's blueprints; an undefined variable is an error."""
    import jinja2

    from targcc_gen.render.jinja import Literals

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(assets.blueprints(), encoding="utf-8"),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - Python, not HTML; text comes in as literals
        extensions=[Literals],
    )


# Parameters that a blueprint's `execute` declares itself, and replacement of their defaults.

Parameter = tuple[ast.arg, ast.expr | None]
"""A parameter and its default."""


def own_parameters(source: str) -> list[Parameter]:
    """Return the parameters of the job's `execute` after the context, each with its default.

    Args:
        source: A job's module.
    """
    positional, named = _pairs(_execute(ast.parse(source)).args)
    return [*positional[2:], *named]


def with_defaults(source: str, defaults: Mapping[str, str]) -> str:
    """Replace the defaults of some parameters of the module's `execute`.

    Args:
        source: A job's module.
        defaults: The new default of each parameter, as source.
    """
    lines = source.encode().split(b"\n")  # column offsets of the tree count bytes
    for argument, default in reversed(own_parameters(source)):
        if argument.arg in defaults and default is not None:
            row, start, end = default.lineno - 1, default.col_offset, default.end_col_offset
            line = lines[row]
            lines[row] = line[:start] + defaults[argument.arg].encode() + line[end:]
    return b"\n".join(lines).decode()


def broken_signature(source: str) -> str:
    """Break the signature of the module's `execute` over several lines, as black does, if the signature is too long for one line.

    Args:
        source: A job's module.
    """
    lines = source.split("\n")
    if all(fits(line) for line in lines if "def execute(" in line):
        return source
    execute = _execute(ast.parse(source))
    line = lines[execute.lineno - 1]
    elements = _elements(line.encode(), execute.args)
    head, together, tail = line.partition(", ".join(elements))
    if fits(line) or not together or execute.body[0].lineno == execute.lineno:
        return source
    lines[execute.lineno - 1] = broken(head, elements, tail)
    return "\n".join(lines)


def _elements(line: bytes, arguments: ast.arguments) -> list[str]:
    """Return the elements between the brackets of a one-line signature."""
    positional, named = _pairs(arguments)
    star = ["*"] if named else []
    return [
        *(_text(line, *argument) for argument in positional),
        *star,
        *(_text(line, *argument) for argument in named),
    ]


def _text(line: bytes, argument: ast.arg, default: ast.expr | None) -> str:
    return line[argument.col_offset : (default or argument).end_col_offset].decode()


def _pairs(arguments: ast.arguments) -> tuple[list[Parameter], list[Parameter]]:
    """Return the positional and the keyword-only parameters, each with its default."""
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults: list[ast.expr | None] = [None] * (len(positional) - len(arguments.defaults))
    pairs = zip(positional, [*defaults, *arguments.defaults], strict=True)
    return list(pairs), list(zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True))


def _execute(module: ast.Module) -> ast.FunctionDef | ast.AsyncFunctionDef:
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == "execute":
            return node
    raise LookupError("execute")
