"""A job's `@job(...)` follows the spec, argument by argument; every other byte of the file stays.

Three versions are compared: the file as the generator wrote it (base), as it is now (yours) and as the generator would write it now
(ours). An argument that only the spec changed is taken over, one that only the person changed stays, and one that both changed is a
collision.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass

from targcc_gen.sync.merge import Collision, Side

SCHEDULE = "schedule"
"""The name of the first argument, which has none."""

DESCRIPTION = "description"


@dataclass(frozen=True)
class Followed:
    """What became of the file.

    Attributes:
        text: The person's file with the spec's changes.
        base: The base with the same changes.
        changed: The arguments that were changed.
        collisions: The arguments that both changed, and no side was chosen.
        problem: Why the file cannot follow at all, in words.
    """

    text: bytes
    base: bytes
    changed: tuple[str, ...] = ()
    collisions: tuple[Collision, ...] = ()
    problem: str | None = None


@dataclass(frozen=True)
class _Job:
    """The decorated class of a module.

    Attributes:
        name: The class's name.
        arguments: The source of each argument of the decorator, by name.
        first: The decorator's first line, from 1.
        last: Its last line.
        docstring: The first line of the class's docstring.
    """

    name: str
    arguments: dict[str, str]
    first: int
    last: int
    docstring: str

    def means(self, argument: str) -> str | None:
        """What an argument says, in a form that ignores how it is written; a description may be the docstring."""
        source = self.arguments.get(argument)
        if source is None and argument == DESCRIPTION:
            source = repr(self.docstring)
        return None if source is None else ast.dump(ast.parse(source, mode="eval"))


def follow(*, yours: bytes, base: bytes, ours: bytes, side: Side | None = None) -> Followed:
    """Let the decorator in the person's file follow the spec.

    Args:
        yours: The person's file, with `\\n` line ends.
        base: The file as the generator wrote it.
        ours: The file as the generator would write it now.
        side: How to settle collisions.
    """
    from targcc_gen.sync.decorator_edits import edited

    was, wanted = _job_in(base), _job_in(ours)
    if was is None or wanted is None:
        return Followed(yours, base)
    spec_changes = _differences(was, wanted)
    rebased = edited(base, was.name, spec_changes, ours) if spec_changes else base
    try:
        now = _job_in(yours, was.name)
    except (SyntaxError, ValueError) as error:
        problem = f"{error}: @job cannot follow the spec until that is right"
        return Followed(yours, rebased, problem=problem)
    if not spec_changes:
        return Followed(yours, rebased)
    if now is None:
        return Followed(
            yours, rebased, problem="it has no @job any more that could follow the spec"
        )
    mine = _differences(was, now)
    changes = {
        name: source
        for name, source in spec_changes.items()
        if wanted.means(name) != now.means(name) and (name not in mine or side is Side.OURS)
    }
    collisions = (
        () if side in {Side.OURS, Side.THEIRS} else _collisions(now, wanted, mine, spec_changes)
    )
    text = edited(yours, now.name, changes, ours) if changes else yours
    return Followed(text, rebased, tuple(changes), collisions)


def _differences(before: _Job, after: _Job) -> dict[str, str | None]:
    """The arguments that say something else, with their new source; None for one that is gone."""
    names = [*after.arguments, *before.arguments, DESCRIPTION]
    return {
        name: _source(after, name)
        for name in dict.fromkeys(names)
        if before.means(name) != after.means(name)
    }


def _source(job: _Job, name: str) -> str | None:
    if name == DESCRIPTION and name not in job.arguments:
        from targcc_gen.render.literals import pyliteral

        return pyliteral(job.docstring)
    return job.arguments.get(name)


def _collisions(
    now: _Job, wanted: _Job, mine: dict[str, str | None], spec: dict[str, str | None]
) -> tuple[Collision, ...]:
    return tuple(
        Collision(now.first, now.last, _shown(name, now), _shown(name, wanted))
        for name in spec
        if name in mine and now.means(name) != wanted.means(name)
    )


def _shown(name: str, job: _Job) -> str:
    source = job.arguments.get(name)
    if source is None:
        return f"no {name}\n"
    return f"{source}\n" if name == SCHEDULE else f"{name}={source}\n"


def _job_in(content: bytes, name: str | None = None) -> _Job | None:
    """The job of a module: the one called `name`, else the only one."""
    source = content.decode("utf-8")
    found = [
        _read(node, decorator, source)
        for node in ast.parse(source).body
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        for decorator in node.decorator_list
        if isinstance(decorator, ast.Call) and is_job(decorator.func)
    ]
    named = [job for job in found if job.name == name]
    if named:
        return named[0]
    return found[0] if len(found) == 1 else None


def is_job(function: ast.expr) -> bool:
    """Whether a decorator is `job` or `something.job`."""
    if isinstance(function, ast.Attribute):
        return function.attr == "job"
    return isinstance(function, ast.Name) and function.id == "job"


def _read(
    node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef, call: ast.Call, source: str
) -> _Job:
    arguments: dict[str, str] = {}
    if call.args:
        arguments[SCHEDULE] = _segment(source, call.args[0])
    for keyword in call.keywords:
        if keyword.arg is not None:
            arguments[keyword.arg] = _segment(source, keyword.value)
    first_line = next(iter((ast.get_docstring(node) or "").splitlines()), "")
    return _Job(node.name, arguments, call.lineno, call.end_lineno or call.lineno, first_line)


def _segment(source: str, node: ast.expr) -> str:
    segment = ast.get_source_segment(source, node)
    assert segment is not None  # the tree comes from this source
    # In parentheses so that a string written over several lines is still one expression.
    return f"({segment})" if "\n" in segment else segment
