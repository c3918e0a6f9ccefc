"""Jobs put into a spec file and taken out of it, or its scheduler chosen, with every other character left as it is.

A change is made in the text, where the parsed tree says it belongs, and the new text is read again: only when it means
exactly what it should is it handed back.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Mapping

from targcc_gen.errors import InputError
from targcc_gen.names import JobName, same_job
from targcc_gen.spec.build import with_job
from targcc_gen.spec.jobs.models import JobSpec
from targcc_gen.spec.models import Spec
from targcc_gen.spec.reading.loader import parse_spec, parse_tree
from targcc_gen.spec.reading.nodes import Node
from targcc_gen.spec.value_errors import nearest
from targcc_gen.spec.writing.dump import job_in_braces, job_lines
from targcc_gen.spec.writing.rename import without_moved
from targcc_gen.spec.writing.splice import (
    BOM,
    LINES,
    at_end,
    first_line,
    has_quoted_keys,
    into_braces,
    last_line,
    past_comments,
    spliced,
    step_of,
    verified,
)

_STEP = 2
_SORTED = 3
"""So many jobs in the order of the alphabet are no accident."""


def add_job(text: str, key: str, job: JobSpec, filename: str = "targcc.yaml") -> str:
    """The text of a spec with one more job at the end of `jobs`, or at its place where the jobs stand by name.

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
    body = text.removeprefix(BOM)
    start = text[: len(text) - len(body)]
    for key, job in jobs.items():
        expected = with_job(expected, key, job)
        root, _ = parse_tree(body, filename)
        body = _with_entry(body, root, key, job)
    return verified(start + body, expected, f"{_named(jobs)} cannot be added to {filename}")


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
    _refuse_needed(spec, key, filename)
    places = [name for name, place in spec.environments.items() if key in place.jobs]
    if places:
        raise InputError(
            f"environments.{places[0]} says what is different of job {key}",
            hint=f"take environments.{places[0]}.jobs.{key} out of {filename} first",
        )
    gone = spec.earlier_names(key)
    expected = spec.model_copy(
        update={
            "jobs": {one: job for one, job in spec.jobs.items() if one != key},
            "moved": {old: new for old, new in spec.moved.items() if old not in gone},
        }
    )
    body = without_moved(text.removeprefix(BOM), gone, filename)
    root, _ = parse_tree(body, filename)
    start = BOM if text.startswith(BOM) else ""
    changed = start + _without_entry(body, root.entries["jobs"][1], key)
    return verified(changed, expected, f"job {key} cannot be removed from {filename}")


def _refuse_needed(spec: Spec, key: str, filename: str) -> None:
    """A job that others come after, or that a flow runs, does not go before they are changed."""
    followers = spec.followers(key)
    if followers:
        verb = "comes" if len(followers) == 1 else "come"
        raise InputError(
            f"{' and '.join(followers)} {verb} after {key}",
            hint=f"take {key} out of the after of {' and '.join(followers)} in {filename} first",
        )
    for name, flow in spec.flows.items():
        for step, one in flow.steps.items():
            if spec.current_key(one.job) == key:
                hint = f"take the step {step} of {name} out of {filename} first"
                raise InputError(f"flow {name} runs {key}", hint=hint)


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
    body = text.removeprefix(BOM)
    root, _ = parse_tree(body, filename)
    changed = text[: len(text) - len(body)] + _with_scheduler(body, root, value)
    return verified(changed, expected, f"scheduler cannot be set in {filename}")


def _with_scheduler(text: str, root: Node, value: str) -> str:
    if "scheduler" in root.entries:
        old = root.entries["scheduler"][1]
        written = f"{old.style}{value}{old.style}" if old.style in {'"', "'"} else value
        return text[: old.start.index] + written + text[old.end.index :]
    if root.style == "{":
        key = '"scheduler"' if has_quoted_keys(root) else "scheduler"
        entry = f'{key}: "{value}"' if has_quoted_keys(root) else f"{key}: {value}"
        return into_braces(text, root, entry)
    name, body = root.entries["project"]
    lines = LINES.findall(text)
    return spliced(lines, last_line(lines, name, body) + 1, [f"scheduler: {value}"])


# --- adding -----------------------------------------------------------------------------------------------------------


def _with_entry(text: str, root: Node, key: str, job: JobSpec) -> str:
    if root.style == "{":
        return _with_braced_entry(text, root, key, job)
    step = step_of(root)
    if "jobs" not in root.entries:
        return at_end(text, ["jobs:", *job_lines(key, job, indent=step, step=step)])
    name, jobs = root.entries["jobs"]
    if jobs.entries and jobs.style == "{":
        return into_braces(text, jobs, job_in_braces(key, job, quote_keys=has_quoted_keys(jobs)))
    if not jobs.entries:
        blank = len(text[: jobs.start.index]) - len(text[: jobs.start.index].rstrip(" "))
        text = text[: jobs.start.index - blank] + text[jobs.end.index :]
        return _first_job(text, name, job_lines(key, job, indent=step, step=step))
    return _after_last(text, jobs, key, job, step)


def _first_job(text: str, name: Node, added: list[str]) -> str:
    """The text with the first entry below `jobs:` and the comments there."""
    lines = LINES.findall(text)
    last = past_comments(lines, name.start.line, name.start.column)
    separator = [""] if last > name.start.line else []
    return spliced(lines, last + 1, [*separator, *added])


def _after_last(text: str, jobs: Node, key: str, job: JobSpec, step: int) -> str:
    lines = LINES.findall(text)
    entries, count = list(jobs.entries.values()), len(jobs.entries)
    place = _place(list(jobs.entries), key)
    if place < count:
        return _before(text, entries, place, key, job)
    name, body = entries[-1]
    column = name.start.column
    if body.kind == "mapping" and body.style == "" and body.entries and not body.alias:
        step = next(iter(body.entries.values()))[0].start.column - column
    added = job_lines(key, job, indent=column, step=step)
    last, above = last_line(lines, name, body), first_line(lines, name) - 1
    is_spaced = count == 1 or not lines[above].strip()
    if is_spaced and lines[last].strip():
        added.insert(0, "")
    return spliced(lines, last + 1, added)


def _place(names: list[str], key: str) -> int:
    """Where a new job goes: at the end, or at its place where the jobs stand by name.

    Branches that each add a job to the end collide in git; at two places in the alphabet they do not.
    """
    folded = [name.casefold() for name in names]
    if len(names) < _SORTED or folded != sorted(folded):
        return len(names)
    return bisect(folded, key.casefold())


def _before(text: str, entries: list[tuple[Node, Node]], place: int, key: str, job: JobSpec) -> str:
    """The text with an entry before the one at `place`; there are several."""
    lines = LINES.findall(text)
    (name, body), (second, _) = entries[:2]
    column, step = name.start.column, _STEP
    if body.kind == "mapping" and body.style == "" and body.entries and not body.alias:
        step = next(iter(body.entries.values()))[0].start.column - column
    added = job_lines(key, job, indent=column, step=step)
    if not lines[first_line(lines, second) - 1].strip():
        added.append("")
    return spliced(lines, first_line(lines, entries[place][0]), added)


def _with_braced_entry(text: str, root: Node, key: str, job: JobSpec) -> str:
    entry = job_in_braces(key, job, quote_keys=has_quoted_keys(root))
    if "jobs" in root.entries and root.entries["jobs"][1].kind == "mapping":
        return into_braces(text, root.entries["jobs"][1], entry)
    if "jobs" in root.entries:
        jobs = root.entries["jobs"][1]
        return f"{text[: jobs.start.index].rstrip()} {{{entry}}}{text[jobs.end.index :]}"
    name = '"jobs"' if has_quoted_keys(root) else "jobs"
    return into_braces(text, root, f"{name}: {{{entry}}}")


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
    lines = LINES.findall(text)
    name, value = entries[index]
    first, last = first_line(lines, name), last_line(lines, name, value)
    is_only = len(entries) == 1
    above = last_line(lines, *entries[index - 1]) if index > 0 else 0
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
