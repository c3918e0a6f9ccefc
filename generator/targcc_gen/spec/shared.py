"""Combine a spec with the files it extends: an organisation's defaults and queues below the project's own."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from targcc_gen.spec import rules
from targcc_gen.spec.blueprint_names import OVERRIDES, Library, use
from targcc_gen.spec.errors import EXTENDS, Problem, SpecErrors, findings_of
from targcc_gen.spec.library import path_problem, read_library, target_problem
from targcc_gen.spec.loader import parse_spec, parse_tree, placed, read_text, without_nulls
from targcc_gen.spec.models import KEYS, Spec
from targcc_gen.spec.nodes import Node
from targcc_gen.spec.parts import (
    CalendarSpec,
    DefaultsSpec,
    EnvironmentSpec,
    Frozen,
    PoolSpec,
    QueueSpec,
)
from targcc_gen.spec.values import CalendarName, QueueName, Version

# Files that a spec extends.

MOST_FILES = 8
"""The most files in a chain of extended files."""

_EXAMPLE = "../org-defaults.yaml"

SECTIONS = (
    "database",
    "scheduler",
    "checks",
    "ci",
    "queues",
    "pools",
    "calendars",
    "defaults",
    "environments",
)
"""The sections of an extended file."""


class SharedSpec(Frozen):
    """A file that specs extend. Keys of a single project or job are not allowed."""

    targcc: Version | None = Field(default=None, description="Version of the file format: 1.")
    extends: str | None = Field(
        default=None, description="Another file to extend. Values in this file take precedence."
    )
    database: Literal["sqlite", "postgresql", "mssql"] | None = None
    scheduler: Literal["package", "vendored"] | None = None
    checks: Literal["standard", "strict"] | None = None
    ci: Literal["github", "gitlab"] | None = None
    queues: dict[QueueName, QueueSpec] = Field(default_factory=dict)
    pools: dict[QueueName, PoolSpec] = Field(default_factory=dict)
    calendars: dict[CalendarName, CalendarSpec] = Field(default_factory=dict)
    defaults: DefaultsSpec = Field(default_factory=DefaultsSpec)
    environments: dict[str, EnvironmentSpec] = Field(default_factory=dict)
    blueprints: tuple[str, ...] = Field(default=())


@dataclass(frozen=True)
class Layer:
    """A file of a chain: the spec itself, or an extended file.

    Attributes:
        name: The file, relative to the project's folder.
        root: The content, with positions.
        place: The file's path.
        shown: The file, as messages name it.
        text: The text.
    """

    name: str
    root: Node
    place: Path
    shown: str
    text: str


def layers_of(text: str, root: Path, filename: str = "targcc.yaml") -> list[Layer]:
    """Return a spec and the files it extends, the nearest first.

    Args:
        text: The spec.
        root: The project's folder.
        filename: The spec, as messages name it.

    Raises:
        SpecErrors: A file cannot be extended or is wrong; the error has the position.
    """
    tree, _ = parse_tree(text, filename)
    place, shown = root / "targcc.yaml", filename
    layers, seen = [Layer("targcc.yaml", tree, place, shown, text)], {place.resolve()}
    while (entry := layers[-1].root.entries.get("extends")) is not None:
        value = entry[1]
        problem = _path_problem(value, len(layers))
        target = place.parent / value.text
        problem = problem or _target_problem(target, root, seen)
        if problem is not None:
            raise SpecErrors(shown, text, [_at(value, *problem)])
        place = target.resolve()
        seen.add(place)
        shown = os.path.relpath(place, root)
        text = read_text(place)
        layers.append(Layer(Path(shown).as_posix(), _checked(text, shown), place, shown, text))
    return layers


def effective(text: str, root: Path, filename: str = "targcc.yaml") -> Spec:
    """Return the spec merged with the files it extends.

    Raises:
        SpecErrors: A file is wrong, or the merged spec is.
    """
    layers = layers_of(text, root, filename)
    data = layers[0].root.data()
    for layer in layers[1:]:
        shared = layer.root.data()
        data = _below(data, {key: shared[key] for key in SECTIONS if shared.get(key) is not None})
    data.pop("extends", None)
    findings = list(rules.spec_findings(data))
    if not findings:
        try:
            return Spec.model_validate(without_nulls(data))
        except ValidationError as error:
            findings = findings_of(error, KEYS)
    raise SpecErrors(filename, text, [placed(finding, layers[0].root) for finding in findings])


def _below(data: dict[str, Any], shared: dict[str, Any]) -> dict[str, Any]:
    """Merge the values of an extended file below the values of a file; the file's own values win."""
    result = dict(data)
    for key, value in shared.items():
        own = result.get(key)
        if own is None:
            result[key] = value
        elif isinstance(own, dict) and isinstance(value, dict):
            result[key] = _below(own, value)
    return result


def _checked(text: str, shown: str) -> Node:
    tree, problems = parse_tree(text, shown)
    try:
        SharedSpec.model_validate(without_nulls(tree.data()))
    except ValidationError as error:
        problems = [*problems, *(placed(finding, tree) for finding in _findings(error))]
    if problems:
        raise SpecErrors(shown, text, problems)
    return tree


def _findings(error: ValidationError) -> Iterator[Any]:
    keys = {**KEYS, "spec": list(SharedSpec.model_fields)}
    return iter(findings_of(error, keys))


def _path_problem(value: Node, depth: int) -> tuple[str, str] | None:
    """Return message and hint for a value of `extends` that is not a usable path; None for a usable path."""
    if value.kind != "scalar":
        return "extends is the path of one file", f"for example {_EXAMPLE}"
    if not value.text.endswith((".yaml", ".yml")):
        return "what is extended is a YAML file", "its name ends in .yaml"
    if depth > MOST_FILES:
        return f"more than {MOST_FILES} files extend each other", "put what they say into fewer"
    return path_problem(value.text, _EXAMPLE)


def _target_problem(target: Path, root: Path, seen: set[Path]) -> tuple[str, str] | None:
    if problem := target_problem(target, root):
        return problem
    if target.resolve() in seen:
        return "these files extend each other in a circle", "take one of the steps out"
    return None


def _at(value: Node, message: str, hint: str) -> Problem:
    length = max(1, value.end.column - value.start.column)
    return Problem(value.start.line, value.start.column, length, message, hint, EXTENDS)


# The whole spec: extended files and a team's blueprints are read only in projects that have such files.

_LOCK = ".targcc/lock.jsonl"
_LARGEST_LOCK = 64_000_000


def whole_spec(text: str, root: Path, filename: str = "targcc.yaml") -> Spec:
    """Read a project's spec, and make its team's blueprints known to this process.

    Args:
        text: The spec.
        root: The project's folder.
        filename: The spec, as messages name it.

    Raises:
        SpecErrors: A file is wrong, or the merged spec is.
        InputError: A blueprint's file cannot be used.
    """
    spec = extended_spec(text, root, filename)
    if spec.scheduler == "vendored" or not is_vendored_silently(spec, root):
        return spec
    return spec.model_copy(update={"scheduler": "vendored"})


def is_vendored_silently(spec: Spec, root: Path) -> bool:
    """Whether a project has a vendored scheduler in its package and no `scheduler` key: the default of releases before 0.2.

    Args:
        spec: The project's spec.
        root: The project's folder.
    """
    if "scheduler" in spec.model_fields_set:
        return False
    lock = _lock(root / _LOCK)
    inside, package = spec.project.inside, spec.project.package
    folder = {None: "src/", ".": ""}.get(inside, f"{inside}/")
    own = f'"path": "{folder}{package}/scheduler/'
    return lock.count(own) > lock.count(f'{own}__init__.py"')


def _lock(path: Path) -> str:
    """Return the text of the lock; empty for a missing file, a link, a device, or a file above the size limit."""
    try:
        status = path.lstat()
        is_file = stat.S_ISREG(status.st_mode) and not path.parent.is_symlink()
        if not is_file or status.st_size > _LARGEST_LOCK:
            return ""
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def extended_spec(text: str, root: Path, filename: str = "targcc.yaml") -> Spec:
    """Read a spec with the files it extends; the arguments are those of `whole_spec`."""
    keys = parse_tree(text, filename)[0].entries.keys()
    if not (keys & {"extends", "blueprints"} or (root / OVERRIDES).exists()):
        use(Library())
        return parse_spec(text, filename)

    use(read_library(layers_of(text, root, filename), root))
    spec = parse_spec(text, filename)
    return effective(text, root, filename) if "extends" in keys else spec
