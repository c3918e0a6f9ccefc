"""Whether the spec asks for a job of another kind or with other arguments than the generator wrote last."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TYPE_CHECKING

from targcc_gen.render.job.blueprints import blueprint_names
from targcc_gen.render.job.signatures import own_parameters
from targcc_gen.spec.blueprint_names import own_params

if TYPE_CHECKING:
    from targcc_gen.render.tree import JobFacts, TreeFile


@dataclass(frozen=True)
class Shape:
    """How a job's module is to be another.

    Attributes:
        reason: What the spec says, in words.
        is_other_blueprint: Whether another blueprint makes it.
    """

    reason: str
    is_other_blueprint: bool = False


def new_shape(base: bytes, generated: TreeFile) -> Shape | None:
    """What the spec changed besides the decorator; None for nothing.

    Only the spec counts: a new version of the generator may write the body of a blueprint in another way, and that does not
    concern jobs that exist.

    Args:
        base: The module as the generator wrote it last.
        generated: The module as it writes it now.
    """
    facts = generated.job
    if facts is None or base == generated.content:
        return None
    was, now = _parsed(base), _parsed(generated.content)
    if was is None or now is None:
        return None
    if _body(was) != _body(now):
        before = closest_blueprint(base, facts)
        if before != facts.blueprint:
            return Shape(f"the spec says blueprint: {facts.blueprint} now", is_other_blueprint=True)
    if _other_arguments(base, generated.content, facts.blueprint):
        return Shape("the spec says other params now")
    if _settings(was) != _settings(now):
        return Shape("the spec says another procedure or default now")
    return None


def closest_blueprint(text: bytes, facts: JobFacts, *, at_least: float = 0) -> str:
    """The blueprint whose module of this job has most in common with a text of it.

    Args:
        text: A text of the module.
        facts: The job.
        at_least: The share of their lines that they must have in common; else the answer is empty.
    """
    lines = _lines(text)

    def likeness(name: str) -> tuple[float, bool, str]:
        other = _lines(facts.as_blueprint(name) or b"")
        common = len(lines & other) / max(1, len(lines | other))
        return round(common, 6), name == facts.blueprint, name

    nearest = max(blueprint_names(), key=likeness)
    return nearest if likeness(nearest)[0] >= at_least else ""


def _lines(text: bytes) -> set[bytes]:
    return {line.strip() for line in text.splitlines()} - {b""}


def _parsed(text: bytes) -> ast.Module | None:
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError):
        return None


def _other_arguments(base: bytes, generated: bytes, blueprint: str) -> bool:
    """Whether the spec changed the arguments; one of the blueprint's own may come and go with a release."""
    was, now, own = _arguments(base), _arguments(generated), own_params(blueprint)
    come_or_gone = {name for name in was.keys() ^ now.keys() if name in own}
    return any(was.get(name) != now.get(name) for name in {*was, *now} if name not in come_or_gone)


def _arguments(text: bytes) -> dict[str, tuple[str, str]]:
    try:
        pairs = own_parameters(text.decode())
    except LookupError:
        return {}
    return {
        argument.arg: (ast.unparse(argument), "" if default is None else ast.unparse(default))
        for argument, default in pairs
    }


def _settings(module: ast.Module) -> dict[str, str]:
    """The constants that the spec gives a module."""
    return {
        name: ast.unparse(node.value)
        for node in module.body
        if isinstance(node, ast.Assign) and (name := constant_name(node.targets[0]))
    }


def constant_name(target: ast.expr) -> str:
    """The name of a constant that the spec says; empty for any other."""
    if isinstance(target, ast.Name) and (
        target.id == "PROCEDURE" or target.id.startswith("DEFAULT_")
    ):
        return target.id
    return ""


def _body(module: ast.Module) -> list[str]:
    """What the blueprint says: not the imports, the docstrings, the decorator."""
    found = []
    for node in module.body:
        if isinstance(node, ast.ClassDef):
            node.decorator_list = []
            node.body = node.body[1:] if ast.get_docstring(node) is not None else node.body
        if not isinstance(node, ast.Import | ast.ImportFrom | ast.Expr | ast.Assign):
            found.append(ast.dump(node))
    return found
