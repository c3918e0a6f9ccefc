"""A job of a spec file that says something else in some of its keys, with every other character left as it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from targcc_gen.errors import InputError
from targcc_gen.spec.build import with_job
from targcc_gen.spec.jobs.models import JobSpec
from targcc_gen.spec.models import Spec
from targcc_gen.spec.reading.loader import parse_spec, parse_tree
from targcc_gen.spec.reading.nodes import Node
from targcc_gen.spec.writing.dump import entry_lines, job_in_braces, job_lines, job_values
from targcc_gen.spec.writing.splice import LINES, has_quoted_keys, last_line, newline_of, verified

_BOM = "\ufeff"


def change_jobs(text: str, jobs: Mapping[str, JobSpec], filename: str = "targcc.yaml") -> str:
    """The text of a spec some of whose jobs are other ones.

    Keys that say the same keep their lines and comments. Where a job is written in a way that cannot be edited key by
    key, its entry is written anew.

    Args:
        text: The spec, with its own line endings.
        jobs: What each is to be, by its key.
        filename: The file, as messages name it.

    Raises:
        SpecErrors: The spec is wrong as it is.
        InputError: A job does not fit the spec, or the text cannot be edited.
    """
    spec = parse_spec(text, filename)
    expected = spec
    for key, job in jobs.items():
        expected = _with(expected, key, job)
    body = text.removeprefix(_BOM)
    start = text[: len(text) - len(body)]
    root, _ = parse_tree(body, filename)
    entries = root.entries["jobs"][1].entries
    # From the last to the first: what stands above an edit keeps its place.
    order = sorted(jobs, key=lambda key: entries[_written(root, key)][0].start.index, reverse=True)
    named = f"job {order[0]}" if len(order) == 1 else f"{len(order)} jobs"
    problem = f"{named} cannot be changed in {filename}"
    for whole in (False, True):
        changed = body
        for key in order:
            name, entry = entries[_written(root, key)]
            edited = None if whole else _by_key(changed, entry, spec.jobs[key], jobs[key])
            changed = edited or _whole(changed, name, entry, key, jobs[key])
        try:
            return verified(start + changed, expected, problem)
        except InputError:
            continue
    raise InputError(f"{problem} without changing something else", hint="edit the file by hand")


def _written(root: Node, key: str) -> str:
    """The key as the file spells it."""
    from targcc_gen.names import JobName, same_job

    return next(
        name for name in root.entries["jobs"][1].entries if same_job(JobName.parse(name).key, key)
    )


def _with(spec: Spec, key: str, job: JobSpec) -> Spec:
    """The spec with another job in the place of one."""
    others = {one: each for one, each in spec.jobs.items() if one != key}
    checked = with_job(spec.model_copy(update={"jobs": others}), key, job)
    return spec.model_copy(update={"jobs": {one: checked.jobs[one] for one in spec.jobs}})


def _by_key(text: str, entry: Node, before: JobSpec, after: JobSpec) -> str | None:
    """Line by line, for an entry that is a plain block."""
    if entry.kind != "mapping" or entry.style or entry.alias or not entry.entries:
        return None
    was, wanted = job_values(before), job_values(after)
    lines = LINES.findall(text)
    ends = newline_of(text)
    if lines[-1].rstrip("\r\n") == lines[-1]:
        lines[-1] += ends
    column = next(iter(entry.entries.values()))[0].start.column
    places = {
        name: (node.start.line, last_line(lines, node, value))
        for name, (node, value) in entry.entries.items()
    }
    if len({first for first, _ in places.values()}) < len(places):
        return None
    end = max(last for _, last in places.values())
    replaced: dict[int, tuple[int, list[str]]] = {}
    added: list[str] = []
    for name in dict.fromkeys([*was, *wanted]):
        if was.get(name) == wanted.get(name):
            continue
        new = [] if name not in wanted else _entry(name, wanted[name], column, ends)
        if name in places:
            first, last = places[name]
            replaced[first] = last, _with_comment(new, name, entry, lines)
        else:
            added += new
    return _respliced(lines, replaced, end, added)


def _entry(name: str, value: Any, column: int, ends: str) -> list[str]:
    return [" " * column + line + ends for line in entry_lines(name, value)]


def _with_comment(new: list[str], name: str, entry: Node, lines: list[str]) -> list[str]:
    """A comment behind a value stays behind the new one."""
    value = entry.entries[name][1]
    if len(new) != 1 or value.kind != "scalar" or value.start.line != value.end.line:
        return new
    rest = lines[value.end.line][value.end.column :].rstrip("\r\n")
    if not rest.lstrip().startswith("#"):
        return new
    line = new[0].rstrip("\r\n")
    return [line + rest + new[0][len(line) :]]


def _respliced(
    lines: list[str], replaced: dict[int, tuple[int, list[str]]], end: int, added: list[str]
) -> str:
    result: list[str] = []
    number = 0
    while number < len(lines):
        last, new = replaced.get(number, (number, [lines[number]]))
        result += new
        if number <= end <= last:
            result += added
        number = last + 1
    return "".join(result)


def _whole(text: str, name: Node, entry: Node, key: str, after: JobSpec) -> str:
    """The entry written anew."""
    if entry.style == "{" or entry.alias:
        new = job_in_braces(key, after, quote_keys=has_quoted_keys(entry))
        return text[: name.start.index] + new + text[entry.end.index :]
    lines = LINES.findall(text)
    ends = newline_of(text)
    first, last = name.start.line, last_line(lines, name, entry)
    new_lines = [line + ends for line in job_lines(key, after, indent=name.start.column)]
    return "".join([*lines[:first], *new_lines, *lines[last + 1 :]])
