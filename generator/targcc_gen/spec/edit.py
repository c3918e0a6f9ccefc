"""Edit a spec file, keeping every other character: add, change, rename and remove jobs, add queues and flows, choose the scheduler.

An edit changes the text at the position given by the parsed tree, then parses the new text. A text that does not parse to
exactly the expected spec is refused.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, TypeVar

from targcc_gen.errors import InputError, SpecEditError, UnknownJobError
from targcc_gen.names import JobName, key_of, same_job
from targcc_gen.spec.dump import (
    entry_lines,
    flow_in_braces,
    flow_lines,
    job_in_braces,
    job_lines,
    job_values,
    queue_entry,
)
from targcc_gen.spec.errors import nearest
from targcc_gen.spec.loader import parse_spec, parse_tree
from targcc_gen.spec.models import FlowSpec, JobSpec, Spec, with_job
from targcc_gen.spec.nodes import Node
from targcc_gen.spec.parts import QueueSpec
from targcc_gen.spec.splice import (
    BOM,
    LINES,
    at_end,
    first_line,
    has_quoted_keys,
    into_braces,
    last_line,
    newline_of,
    past_comments,
    spliced,
    step_of,
    verified,
)
from targcc_gen.spec.values import INTERVALS

T = TypeVar("T")

# Change keys of a job.


def change_jobs(text: str, jobs: Mapping[str, JobSpec], filename: str = "targcc.yaml") -> str:
    """Return the text of a spec with changed jobs.

    Keys with unchanged values keep their lines and comments. A job that cannot be edited key by key is written anew.

    Args:
        text: The spec, with its own line endings.
        jobs: The new jobs, by key.
        filename: The file, as messages name it.

    Raises:
        SpecErrors: The spec is wrong before the change.
        InputError: A job does not fit the spec, or the text cannot be edited.
    """
    spec = parse_spec(text, filename)
    expected = spec
    for key, job in jobs.items():
        expected = _with(expected, key, job)
    body = text.removeprefix(BOM)
    start = text[: len(text) - len(body)]
    root, _ = parse_tree(body, filename)
    entries = root.entries["jobs"][1].entries
    # From the last to the first: an edit does not move the text above.
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
    raise SpecEditError(f"{problem} without changing something else", hint="edit the file by hand")


def _written(root: Node, key: str) -> str:
    """Return a job's key as the file spells the key."""
    return next(
        name for name in root.entries["jobs"][1].entries if same_job(JobName.parse(name).key, key)
    )


def _with(spec: Spec, key: str, job: JobSpec) -> Spec:
    """Return the spec with a job replaced, in the same order."""
    others = {name: each for name, each in spec.jobs.items() if name != key}
    checked = with_job(spec.model_copy(update={"jobs": others}), key, job)
    return spec.model_copy(update={"jobs": {name: checked.jobs[name] for name in spec.jobs}})


def _by_key(text: str, entry: Node, before: JobSpec, after: JobSpec) -> str | None:
    """Change an entry key by key; None for an entry that is not a plain block."""
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
    """Keep a comment behind a value on the new line."""
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
    """Write a job's entry anew."""
    if entry.style == "{" or entry.alias:
        new = job_in_braces(key, after, quote_keys=has_quoted_keys(entry))
        return text[: name.start.index] + new + text[entry.end.index :]
    lines = LINES.findall(text)
    ends = newline_of(text)
    first, last = name.start.line, last_line(lines, name, entry)
    new_lines = [line + ends for line in job_lines(key, after, indent=name.start.column)]
    return "".join([*lines[:first], *new_lines, *lines[last + 1 :]])


# Add queues.


def add_queues(text: str, queues: Mapping[str, QueueSpec], filename: str = "targcc.yaml") -> str:
    """Return the text of a spec with added queues; queues already in the spec stay unchanged.

    Args:
        text: The spec, with its own line endings.
        queues: The queues by name.
        filename: The file, as messages name it.

    Raises:
        SpecErrors: The spec is wrong before the change.
        InputError: The text cannot be edited.
    """
    spec = parse_spec(text, filename)
    new = {name: queue for name, queue in queues.items() if name not in spec.queues}
    expected = spec.model_copy(update={"queues": {**spec.queues, **new}})
    added = _with_each(text, new, _with_queue, filename)
    return verified(added, expected, f"queues cannot be added to {filename}")


def _with_each(
    text: str, items: Mapping[str, T], add: Callable[[str, Node, str, T], str], filename: str
) -> str:
    """Add items one after the other; ``add`` gets the text without its byte order mark, its tree, a name and an item."""
    body = text.removeprefix(BOM)
    start = text[: len(text) - len(body)]
    for name, item in items.items():
        root, _ = parse_tree(body, filename)
        body = add(body, root, name, item)
    return start + body


def _with_queue(text: str, root: Node, name: str, queue: QueueSpec) -> str:
    entry = queue_entry(name, queue, quote_keys=has_quoted_keys(root))
    lines = LINES.findall(text)
    queues = root.entries["queues"][1] if "queues" in root.entries else None
    if queues is not None and queues.style == "{":
        return into_braces(text, queues, entry)
    if queues is not None and queues.entries:
        last_name, last = list(queues.entries.values())[-1]
        margin = " " * last_name.start.column
        return spliced(lines, last_line(lines, last_name, last) + 1, [margin + entry])
    if root.style == "{":
        key = '"queues"' if has_quoted_keys(root) else "queues"
        return into_braces(text, root, f"{key}: {{{entry}}}")
    above, body = root.entries["project"]
    added = ["queues:", " " * step_of(root) + entry]
    return spliced(lines, last_line(lines, above, body) + 1, added)


# Add flows.


def add_flows(text: str, flows: Mapping[str, FlowSpec], filename: str = "targcc.yaml") -> str:
    """Return the text of a spec with added flows, whose jobs it has.

    Args:
        text: The spec, with its own line endings.
        flows: The flows by name.
        filename: The file, as messages name it.

    Raises:
        SpecErrors: The spec is wrong before the change.
        InputError: The text cannot be edited.
    """
    spec = parse_spec(text, filename)
    expected = spec.model_copy(update={"flows": {**spec.flows, **flows}})
    added = _with_each(text, flows, _with_flow, filename)
    return verified(added, expected, f"flows cannot be added to {filename}")


def _with_flow(text: str, root: Node, name: str, flow: FlowSpec) -> str:
    flows = root.entries["flows"][1] if "flows" in root.entries else None
    inline = flow_in_braces(name, flow, quote_keys=has_quoted_keys(root))
    if flows is not None and flows.style == "{":
        return into_braces(text, flows, inline)
    if root.style == "{":
        key = '"flows"' if has_quoted_keys(root) else "flows"
        return into_braces(text, root, f"{key}: {{{inline}}}")
    if flows is None or not flows.entries:
        return at_end(text, ["flows:", *flow_lines(name, flow)])
    lines = LINES.findall(text)
    last_name, last = list(flows.entries.values())[-1]
    added = flow_lines(name, flow, indent=last_name.start.column)
    return spliced(lines, last_line(lines, last_name, last) + 1, added)


# Rename a job.


def rename_job(text: str, old: str, new: str, filename: str = "targcc.yaml") -> str:
    """Return the text of a spec with a job renamed and the rename listed in `moved`.

    Args:
        text: The spec, with its own line endings.
        old: The job's key.
        new: The new key.
        filename: The file, as messages name it.

    Raises:
        SpecErrors: The spec is wrong before the change.
        InputError: The text cannot be edited.
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
    if new in spec.moved:  # the job gets an earlier name back
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
                place: environment.model_copy(update={"jobs": _renamed(environment.jobs, old, new)})
                for place, environment in spec.environments.items()
            },
        }
    )
    problem = f"job {old} cannot be renamed in {filename}"
    return verified(text[: len(text) - len(body)] + changed, expected, problem)


def _renamed(jobs: Mapping[str, Any], old: str, new: str) -> dict[str, Any]:
    return {new if key == old else key: job for key, job in jobs.items()}


def _following(job: JobSpec, old: str, new: str) -> JobSpec:
    """Replace the renamed job in the `after` of a job."""
    if not isinstance(job.after, tuple) or old not in job.after:
        return job
    return job.model_copy(update={"after": tuple(_new(parent, old, new) for parent in job.after)})


def _running(flow: FlowSpec, old: str, new: str) -> FlowSpec:
    """Replace the renamed job in the steps of a flow."""
    steps = {
        name: step.model_copy(update={"job": _new(step.job, old, new)})
        for name, step in flow.steps.items()
    }
    return flow.model_copy(update={"steps": steps})


def _new(name: str, old: str, new: str) -> str:
    return new if name == old else name


def _references(root: Node, key: str) -> Iterator[Node]:
    """Yield the nodes that name a job in `after` of jobs and in steps of flows; aliases are left out."""
    for job in _values(root, "jobs"):
        if "after" in job.entries:
            value = job.entries["after"][1]
            names = value.items or ([] if value.text in INTERVALS else [value])
            yield from (name for name in names if not name.alias and _is(name, key))
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
    """Yield the key nodes of a job: below `jobs`, and below `jobs` of each environment."""
    places = [root]
    if "environments" in root.entries:
        places += [value for _, value in root.entries["environments"][1].entries.values()]
    for place in places:
        if "jobs" in place.entries:
            for written, (name, _) in place.entries["jobs"][1].entries.items():
                if same_job(JobName.parse(written).key, key):
                    yield name


def without_moved(text: str, names: Collection[str], filename: str) -> str:
    """Return the text without the lines of `moved` for these old names; without `moved` if no line is left."""
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
        return text  # on one line: `verified` then refuses the result
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


# Add and remove jobs, choose the scheduler.

_STEP = 2
_SORTED = 3
"""The fewest jobs in alphabetical order that count as sorted on purpose."""


def add_job(text: str, key: str, job: JobSpec, filename: str = "targcc.yaml") -> str:
    """Return the text of a spec with a job added: at the end of `jobs`, or in its place if the jobs are sorted by name.

    Args:
        text: The spec, with its own line endings.
        key: The new job's key.
        job: The new job.
        filename: The file, as messages name it.

    Raises:
        SpecErrors: The spec is wrong before the change.
        InputError: The job does not fit the spec, or the text cannot be edited.
    """
    return add_jobs(text, {key: job}, filename)


def add_jobs(text: str, jobs: Mapping[str, JobSpec], filename: str = "targcc.yaml") -> str:
    """Return the text of a spec with jobs added; places and errors as in `add_job`."""
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
    """Return the text of a spec without a job and the comment lines directly above it.

    Args:
        text: The spec, with its own line endings.
        key: The job's key.
        filename: The file, as messages name it.

    Raises:
        SpecErrors: The spec is wrong before the change.
        InputError: The job does not exist, is named elsewhere in the spec, or holds text that other jobs use.
    """
    spec = parse_spec(text, filename)
    if key not in spec.jobs:
        known = list(spec.jobs)
        raise UnknownJobError(
            f"no job {key} in {filename}", hint=nearest(key, known) or f"it has {', '.join(known)}"
        )
    _refuse_needed(spec, key, filename)
    places = [name for name, place in spec.environments.items() if key in place.jobs]
    if places:
        raise SpecEditError(
            f"environments.{places[0]} says what is different of job {key}",
            hint=f"take environments.{places[0]}.jobs.{key} out of {filename} first",
        )
    gone = spec.earlier_names(key)
    expected = spec.model_copy(
        update={
            "jobs": {other_key: job for other_key, job in spec.jobs.items() if other_key != key},
            "moved": {old: new for old, new in spec.moved.items() if old not in gone},
        }
    )
    body = without_moved(text.removeprefix(BOM), gone, filename)
    root, _ = parse_tree(body, filename)
    start = BOM if text.startswith(BOM) else ""
    changed = start + _without_entry(body, root.entries["jobs"][1], key)
    return verified(changed, expected, f"job {key} cannot be removed from {filename}")


def _refuse_needed(spec: Spec, key: str, filename: str) -> None:
    """Refuse to remove a job that other jobs come after, or that a flow runs."""
    followers = spec.followers(key)
    if followers:
        verb = "comes" if len(followers) == 1 else "come"
        raise SpecEditError(
            f"{' and '.join(followers)} {verb} after {key}",
            hint=f"take {key} out of the after of {' and '.join(followers)} in {filename} first",
        )
    for name, flow in spec.flows.items():
        for step, flow_step in flow.steps.items():
            if spec.current_key(flow_step.job) == key:
                hint = f"take the step {step} of {name} out of {filename} first"
                raise SpecEditError(f"flow {name} runs {key}", hint=hint)


def set_scheduler(text: str, value: str, filename: str = "targcc.yaml") -> str:
    """Return the text of a spec with another `scheduler`: `vendored` or `package`.

    Args:
        text: The spec, with its own line endings.
        value: The new value.
        filename: The file, as messages name it.

    Raises:
        SpecErrors: The spec is wrong before the change.
        InputError: The text cannot be edited.
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
    """Return the text with the first entry below `jobs:` and below the comments there."""
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
    """Return the index for a new job: the end, or the alphabetical place if the jobs are sorted by name.

    Branches that each append a job collide in git; at different places of the alphabet the branches merge.
    """
    folded = [name.casefold() for name in names]
    if len(names) < _SORTED or folded != sorted(folded):
        return len(names)
    return bisect(folded, key.casefold())


def _before(text: str, entries: list[tuple[Node, Node]], place: int, key: str, job: JobSpec) -> str:
    """Return the text with an entry before the entry at `place`; `entries` has at least two."""
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
