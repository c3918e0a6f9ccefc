"""A job of a spec file with another key, with every other character left as it is."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from targcc_gen.names import JobName, key_of, same_job
from targcc_gen.spec.flows.models import FlowSpec
from targcc_gen.spec.jobs.models import JobSpec
from targcc_gen.spec.reading.loader import parse_spec, parse_tree
from targcc_gen.spec.reading.nodes import Node
from targcc_gen.spec.ties.values import INTERVALS
from targcc_gen.spec.writing.splice import (
    BOM,
    LINES,
    at_end,
    has_quoted_keys,
    into_braces,
    last_line,
    spliced,
    step_of,
    verified,
)


def rename_job(text: str, old: str, new: str, filename: str = "targcc.yaml") -> str:
    """The text of a spec in which a job has another key, and `moved` says so.

    Args:
        text: The spec, with its own line endings.
        old: The job's key.
        new: The key it gets.
        filename: The file, as messages name it.

    Raises:
        SpecErrors: The spec is wrong as it is.
        InputError: The text is written in a way that cannot be edited.
    """
    spec = parse_spec(text, filename)
    body = text.removeprefix(BOM)
    root, _ = parse_tree(body, filename)
    changed = body
    named = {node.start.index: node for node in (*_keys(root, old), *_references(root, old))}
    for _, name in sorted(named.items(), reverse=True):
        quote = name.style if name.style in {'"', "'"} else ""
        changed = f"{changed[: name.start.index]}{quote}{new}{quote}{changed[name.end.index :]}"
    root, _ = parse_tree(changed, filename)
    moved = {key: target for key, target in spec.moved.items() if key != new} | {old: new}
    if new in spec.moved:  # it gets a name back that it had
        changed = without_moved(changed, [new], filename)
        root, _ = parse_tree(changed, filename)
    changed = _with_line(changed, root, old, new)
    expected = spec.model_copy(
        update={
            "jobs": {
                key: _following(job, old, new) for key, job in _renamed(spec.jobs, old, new).items()
            },
            "flows": {name: _running(flow, old, new) for name, flow in spec.flows.items()},
            "moved": moved,
            "environments": {
                place: one.model_copy(update={"jobs": _renamed(one.jobs, old, new)})
                for place, one in spec.environments.items()
            },
        }
    )
    problem = f"job {old} cannot be renamed in {filename}"
    return verified(text[: len(text) - len(body)] + changed, expected, problem)


def _renamed(jobs: Mapping[str, Any], old: str, new: str) -> dict[str, Any]:
    return {new if key == old else key: job for key, job in jobs.items()}


def _following(job: JobSpec, old: str, new: str) -> JobSpec:
    """A job that comes after the renamed one by its new name."""
    if not isinstance(job.after, tuple) or old not in job.after:
        return job
    return job.model_copy(update={"after": tuple(_new(one, old, new) for one in job.after)})


def _running(flow: FlowSpec, old: str, new: str) -> FlowSpec:
    """A flow whose steps run the renamed job by its new name."""
    steps = {
        name: step.model_copy(update={"job": _new(step.job, old, new)})
        for name, step in flow.steps.items()
    }
    return flow.model_copy(update={"steps": steps})


def _new(name: str, old: str, new: str) -> str:
    return new if name == old else name


def _references(root: Node, key: str) -> Iterator[Node]:
    """Where other jobs come after a job, and where steps of flows run it; what an alias stands for is written once."""
    for job in _values(root, "jobs"):
        if "after" in job.entries:
            value = job.entries["after"][1]
            names = value.items or ([] if value.text in INTERVALS else [value])
            yield from (one for one in names if not one.alias and _is(one, key))
    for flow in _values(root, "flows"):
        for step in _values(flow, "steps"):
            if "job" in step.entries and _is(step.entries["job"][1], key):
                yield step.entries["job"][1]


def _values(node: Node, section: str) -> list[Node]:
    return (
        [value for _, value in node.entries[section][1].entries.values()]
        if section in node.entries
        else []
    )


def _is(node: Node, key: str) -> bool:
    return node.kind == "scalar" and key_of(node.text) == key


def _keys(root: Node, key: str) -> Iterator[Node]:
    """Where a job stands: below `jobs`, and below those of each environment."""
    places = [root]
    if "environments" in root.entries:
        places += [value for _, value in root.entries["environments"][1].entries.values()]
    for place in places:
        if "jobs" in place.entries:
            for written, (name, _) in place.entries["jobs"][1].entries.items():
                if same_job(JobName.parse(written).key, key):
                    yield name


def without_moved(text: str, names: Collection[str], filename: str) -> str:
    """The text without the lines of `moved` about these old names; without all of it when nothing is left."""
    if not names:
        return text
    root, _ = parse_tree(text, filename)
    heading, moved = root.entries["moved"]
    lines = LINES.findall(text)
    gone = {heading.start.line} if len(names) == len(moved.entries) else set()
    for key, (name, value) in moved.entries.items():
        if JobName.parse(key).key in names:
            gone |= set(range(name.start.line, value.end.line + 1))
    if gone and (moved.style == "{" and heading.start.line not in gone):
        return text  # written on one line: what checks the result says so
    return "".join(line for number, line in enumerate(lines) if number not in gone)


def _with_line(text: str, root: Node, old: str, new: str) -> str:
    quoted = has_quoted_keys(root)
    entry = f'"{old}": "{new}"' if quoted else f"{old}: {new}"
    moved = root.entries["moved"][1] if "moved" in root.entries else None
    if moved is not None and moved.style == "{":
        return into_braces(text, moved, entry)
    if moved is not None and moved.entries:
        lines = LINES.findall(text)
        name, value = list(moved.entries.values())[-1]
        return spliced(lines, last_line(lines, name, value) + 1, [" " * name.start.column + entry])
    if root.style == "{":
        key = '"moved"' if quoted else "moved"
        return into_braces(text, root, f"{key}: {{{entry}}}")
    if moved is not None:  # `moved:` with nothing below
        lines = LINES.findall(text)
        line = root.entries["moved"][0].start.line
        return spliced(lines, line + 1, [" " * step_of(root) + entry])
    return at_end(text, ["moved:", " " * step_of(root) + entry])
