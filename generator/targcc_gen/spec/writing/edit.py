"""Jobs put into a spec file and taken out of it, or its scheduler chosen, with every other character left as it is.

A change is made in the text, where the parsed tree says it belongs, and the new text is read again: only when it means
exactly what it should is it handed back.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from targcc_gen.errors import InputError
from targcc_gen.names import JobName, same_job
from targcc_gen.spec.build import with_job
from targcc_gen.spec.models import JobSpec, Spec
from targcc_gen.spec.reading.loader import parse_spec, parse_tree
from targcc_gen.spec.reading.nodes import Node
from targcc_gen.spec.reading.problems import SpecErrors
from targcc_gen.spec.value_errors import nearest
from targcc_gen.spec.writing.dump import job_in_braces, job_lines

_BOM = "\ufeff"
_LINES = re.compile(
    "[^\n\r\x85\u2028\u2029]*(?:\r\n|[\n\r\x85\u2028\u2029])|[^\n\r\x85\u2028\u2029]+"
)
_INDENT = 2


def add_job(text: str, key: str, job: JobSpec, filename: str = "targcc.yaml") -> str:
    """The text of a spec with one more job at the end of `jobs`.

    Args:
        text: The spec, with its own line endings.
        key: The new job's key.
        job: The new job.
        filename: The file, as messages name it.

    Raises:
        SpecErrors: The spec is wrong as it is.
        InputError: The job does not fit the spec, or the text is written in a way that cannot be added to.
    """
    return add_jobs(text, {key: job}, filename)


def add_jobs(text: str, jobs: Mapping[str, JobSpec], filename: str = "targcc.yaml") -> str:
    """The text of a spec with more jobs at the end of `jobs`, as `add_job` adds one."""
    expected = parse_spec(text, filename)
    body = text.removeprefix(_BOM)
    start = text[: len(text) - len(body)]
    for key, job in jobs.items():
        expected = with_job(expected, key, job)
        root, _ = parse_tree(body, filename)
        body = _with_entry(body, root, key, job)
    return _verified(start + body, expected, f"{_named(jobs)} cannot be added to {filename}")


def _named(jobs: Mapping[str, JobSpec]) -> str:
    return f"job {next(iter(jobs))}" if len(jobs) == 1 else f"{len(jobs)} jobs"


def remove_job(text: str, key: str, filename: str = "targcc.yaml") -> str:
    """The text of a spec without a job, and without the comment lines directly above it.

    Args:
        text: The spec, with its own line endings.
        key: The job's key.
        filename: The file, as messages name it.

    Raises:
        SpecErrors: The spec is wrong as it is.
        InputError: There is no such job, or others are written with the help of its text.
    """
    spec = parse_spec(text, filename)
    if key not in spec.jobs:
        known = list(spec.jobs)
        raise InputError(
            f"no job {key} in {filename}", hint=nearest(key, known) or f"it has {', '.join(known)}"
        )
    expected = spec.model_copy(
        update={"jobs": {one: job for one, job in spec.jobs.items() if one != key}}
    )
    body = text.removeprefix(_BOM)
    root, _ = parse_tree(body, filename)
    changed = text[: len(text) - len(body)] + _without_entry(body, root.entries["jobs"][1], key)
    return _verified(changed, expected, f"job {key} cannot be removed from {filename}")


def set_scheduler(text: str, value: str, filename: str = "targcc.yaml") -> str:
    """The text of a spec whose `scheduler` is another: `vendored` or `package`.

    Args:
        text: The spec, with its own line endings.
        value: What it is to be.
        filename: The file, as messages name it.

    Raises:
        SpecErrors: The spec is wrong as it is.
        InputError: The text is written in a way that cannot be edited.
    """
    expected = parse_spec(text, filename).model_copy(update={"scheduler": value})
    body = text.removeprefix(_BOM)
    root, _ = parse_tree(body, filename)
    changed = text[: len(text) - len(body)] + _with_scheduler(body, root, value)
    return _verified(changed, expected, f"scheduler cannot be set in {filename}")


def _with_scheduler(text: str, root: Node, value: str) -> str:
    if "scheduler" in root.entries:
        old = root.entries["scheduler"][1]
        written = f"{old.style}{value}{old.style}" if old.style in {'"', "'"} else value
        return text[: old.start.index] + written + text[old.end.index :]
    if root.style == "{":
        key = '"scheduler"' if _has_quoted_keys(root) else "scheduler"
        entry = f'{key}: "{value}"' if _has_quoted_keys(root) else f"{key}: {value}"
        return _into_braces(text, root, entry)
    name, body = root.entries["project"]
    lines = _LINES.findall(text)
    return _spliced(lines, _last_line(lines, name, body) + 1, [f"scheduler: {value}"])


def _verified(text: str, expected: Spec, problem: str) -> str:
    try:
        if parse_spec(text) == expected:
            return text
    except SpecErrors:
        pass
    raise InputError(f"{problem} without changing something else", hint="edit the file by hand")


# --- adding -----------------------------------------------------------------------------------------------------------


def _with_entry(text: str, root: Node, key: str, job: JobSpec) -> str:
    if root.style == "{":
        return _with_braced_entry(text, root, key, job)
    step = _step(root)
    if "jobs" not in root.entries:
        return _at_end(text, ["jobs:", *job_lines(key, job, indent=step, step=step)])
    name, jobs = root.entries["jobs"]
    if jobs.entries and jobs.style == "{":
        return _into_braces(text, jobs, job_in_braces(key, job, quote_keys=_has_quoted_keys(jobs)))
    if not jobs.entries:
        blank = len(text[: jobs.start.index]) - len(text[: jobs.start.index].rstrip(" "))
        text = text[: jobs.start.index - blank] + text[jobs.end.index :]
        return _first_job(text, name, job_lines(key, job, indent=step, step=step))
    return _after_last(text, jobs, key, job, step)


def _first_job(text: str, name: Node, added: list[str]) -> str:
    """The text with the first entry below `jobs:` and the comments there."""
    lines = _LINES.findall(text)
    last = _past_comments(lines, name.start.line, name.start.column)
    separator = [""] if last > name.start.line else []
    return _spliced(lines, last + 1, [*separator, *added])


def _after_last(text: str, jobs: Node, key: str, job: JobSpec, step: int) -> str:
    lines = _LINES.findall(text)
    (name, body), count = list(jobs.entries.values())[-1], len(jobs.entries)
    column = name.start.column
    if body.kind == "mapping" and body.style == "" and body.entries and not body.alias:
        step = next(iter(body.entries.values()))[0].start.column - column
    added = job_lines(key, job, indent=column, step=step)
    last, above = _last_line(lines, name, body), _first_line(lines, name) - 1
    is_spaced = count == 1 or not lines[above].strip()
    if is_spaced and lines[last].strip():
        added.insert(0, "")
    return _spliced(lines, last + 1, added)


def _with_braced_entry(text: str, root: Node, key: str, job: JobSpec) -> str:
    entry = job_in_braces(key, job, quote_keys=_has_quoted_keys(root))
    if "jobs" in root.entries and root.entries["jobs"][1].kind == "mapping":
        return _into_braces(text, root.entries["jobs"][1], entry)
    if "jobs" in root.entries:
        jobs = root.entries["jobs"][1]
        return f"{text[: jobs.start.index].rstrip()} {{{entry}}}{text[jobs.end.index :]}"
    name = '"jobs"' if _has_quoted_keys(root) else "jobs"
    return _into_braces(text, root, f"{name}: {{{entry}}}")


def _into_braces(text: str, mapping: Node, entry: str) -> str:
    """The text with an entry more at the end of a mapping in braces, on a line of its own if the last one is."""
    if not mapping.entries:
        start = mapping.start.index + 1
        return f"{text[:start]}{entry}{text[mapping.end.index - 1 :]}"
    name, value = list(mapping.entries.values())[-1]
    line_start = name.start.index - name.start.column
    margin = text[line_start : name.start.index]
    gap = _newline(text) + margin if not margin.strip() else " "
    end = max(name.end.index, value.end.index)
    return f"{text[:end]},{gap}{entry}{text[end:]}"


def _has_quoted_keys(mapping: Node) -> bool:
    return all(name.style == '"' for name, _ in mapping.entries.values())


def _at_end(text: str, added: list[str]) -> str:
    """The text with lines more at its end, before the mark that ends a YAML document."""
    lines = _LINES.findall(text)
    ends = [number for number, line in enumerate(lines) if line.startswith("...")]
    position = ends[0] if ends else len(lines)
    blank = [""] if position and lines[position - 1].strip() else []
    return _spliced(lines, position, [*blank, *added])


def _spliced(lines: list[str], position: int, added: list[str]) -> str:
    """The text with lines added; a file without a newline at its end stays one."""
    newline = _newline("".join(lines))
    before, after = lines[:position], lines[position:]
    inserted = newline.join(added)
    if before and before[-1].rstrip("\r\n") == before[-1]:
        return "".join(before) + newline + inserted
    return "".join(before) + inserted + newline + "".join(after)


def _newline(text: str) -> str:
    """The line ending that a file uses."""
    windows = text.count("\r\n")
    if windows * 2 > text.count("\n"):
        return "\r\n"
    return "\r" if "\n" not in text and "\r" in text else "\n"


def _step(root: Node) -> int:
    """By how many spaces the file indents."""
    for name, value in root.entries.values():
        if value.kind == "mapping" and value.style == "" and value.entries and not value.alias:
            return next(iter(value.entries.values()))[0].start.column - name.start.column
    return _INDENT


# --- removing ---------------------------------------------------------------------------------------------------------


def _without_entry(text: str, jobs: Node, key: str) -> str:
    written = list(jobs.entries)
    index = next(i for i, name in enumerate(written) if same_job(JobName.parse(name).key, key))
    entries = list(jobs.entries.values())
    if jobs.style == "{":
        return _without_braced_entry(text, entries, index)
    return _without_lines(text, entries, index)


def _without_braced_entry(text: str, entries: list[tuple[Node, Node]], index: int) -> str:
    name, value = entries[index]
    start, end = name.start.index, max(name.end.index, value.end.index)
    if index + 1 < len(entries):
        end = entries[index + 1][0].start.index
    elif index > 0:
        start = max(node.end.index for node in entries[index - 1])
    else:
        end += len(text[end:]) - len(text[end:].lstrip().removeprefix(","))
    return text[:start] + text[end:]


def _without_lines(text: str, entries: list[tuple[Node, Node]], index: int) -> str:
    lines = _LINES.findall(text)
    name, value = entries[index]
    first, last = _first_line(lines, name), _last_line(lines, name, value)
    is_only = len(entries) == 1
    above = _last_line(lines, *entries[index - 1]) if index > 0 else 0
    if (index > 0 or is_only) and above < first - 1 and not lines[first - 1].strip():
        first -= 1
    while index == 0 and not is_only and not lines[last + 1].strip():
        last += 1
    kept = lines[:first] + lines[last + 1 :]
    had_newline = lines[-1].rstrip("\r\n") != lines[-1]
    if not had_newline and last + 1 == len(lines):
        kept[-1] = kept[-1].rstrip("\r\n")
    return "".join(kept)


# --- where an entry begins and ends -----------------------------------------------------------------------------------


def _first_line(lines: list[str], name: Node) -> int:
    """The line of an entry's first comment, or of its key."""
    line = name.start.line
    while line > 0 and _comment_column(lines[line - 1]) == name.start.column:
        line -= 1
    return line


def _last_line(lines: list[str], name: Node, value: Node) -> int:
    """The line of an entry's last text or comment."""
    last_name, last = name, value
    while last.style == "" and not last.alias and (last.entries or last.items):
        if last.entries:
            last_name, last = list(last.entries.values())[-1]
        else:
            last_name = last = last.items[-1]
    line = max(last_name.end.line, last.end.line)
    if last.style in {"|", ">"} and line > last.start.line:
        line = _end_of_text(lines, last, line)
    return _past_comments(lines, line, name.start.column)


def _end_of_text(lines: list[str], text: Node, end: int) -> int:
    """The last line of an indented text; blank lines after it belong to it only with `|+` or `>+`."""
    line = end if text.end.column else end - 1
    keeps_blank_lines = "+" in lines[text.start.line][text.start.column :].partition("#")[0]
    while not keeps_blank_lines and line > text.start.line and not lines[line].strip():
        line -= 1
    return line


def _past_comments(lines: list[str], line: int, column: int) -> int:
    """The line of the last comment below `line` that is indented by more than `column`, or `line`."""
    for number in range(line + 1, len(lines)):
        comment = _comment_column(lines[number])
        if comment is not None and comment > column:
            line = number
        elif lines[number].strip():
            break
    return line


def _comment_column(line: str) -> int | None:
    stripped = line.lstrip(" ")
    return len(line) - len(stripped) if stripped.startswith("#") else None
