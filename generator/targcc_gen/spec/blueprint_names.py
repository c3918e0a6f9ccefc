"""Blueprints by name, a team's included, and the parameters of their `execute`."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Annotated, Any

from pydantic import AfterValidator, StrictStr, WithJsonSchema

from targcc_gen import assets
from targcc_gen.spec.errors import nearest, problem

BLUEPRINTS = (
    "blank",
    "heartbeat",
    "report",
    "cleanup",
    "batch",
    "sync",
    "backup",
    "alert-check",
    "stored-procedure",
    "sql",
    "command",
    "http",
    "not-ported",
)
"""The generator's own blueprints."""

FIRST_JOB = {
    "cron": "0 * * * *",
    "description": "Shows that the scheduler works",
    "blueprint": "heartbeat",
    "retries": 0,
    "timeout": "30s",
}
"""The job of a new or patched project, as in the spec."""

PARTS = ("blueprint.yaml", "job.py.jinja", "test.py.jinja")
"""The files of a blueprint."""


OVERRIDES = "templates/overrides"
"""A folder beside a spec or an extended file; its files replace the generator's files."""


@dataclass(frozen=True)
class TeamBlueprint:
    """A blueprint of a team.

    Attributes:
        name: The name of the blueprint and of its folder.
        origin: The folder, relative to the project's folder.
        texts: The text of each file, by file name.
        source: The git repository and the commit; empty for a folder of the project's repository.
    """

    name: str
    origin: str
    texts: dict[str, str]
    source: str = ""

    @property
    def sha256(self) -> str:
        """The checksum of all files."""
        return _digest("\0".join(self.texts[part] for part in PARTS))


@dataclass(frozen=True)
class Override:
    """A team's file that replaces a file of the generator, or is added to the project.

    Attributes:
        path: The target, relative to the project's folder; `{{ package }}` stands for the package.
        origin: The team's file, relative to the project's folder.
        text: The content.
        is_template: Whether the file is rendered.
    """

    path: str
    origin: str
    text: str
    is_template: bool

    @property
    def sha256(self) -> str:
        """The checksum of the text."""
        return _digest(self.text)


@dataclass(frozen=True)
class Library:
    """The blueprints and overrides that a project takes from its team.

    Attributes:
        blueprints: Blueprints by name.
        overrides: Overrides by path.
        lenient: Whether the folders named in the spec are still unread; then any name is accepted as a blueprint.
        commits: The commit of each git repository, by the repository's name in the lock.
    """

    blueprints: dict[str, TeamBlueprint] = field(default_factory=dict)
    overrides: dict[str, Override] = field(default_factory=dict)
    lenient: bool = False
    commits: dict[str, str] = field(default_factory=dict)


_current = Library()
_generation = 0


def use(library: Library) -> None:
    """Set the library by which this process checks specs and renders jobs; a process works on one project."""
    global _current, _generation  # noqa: PLW0603 - the one place where a process keeps them
    if library != _current:
        _current = library
        _generation += 1


def generation() -> int:
    """Return a number that changes with the library; a key for caches."""
    return _generation


def current() -> Library:
    """Return the library of this process's project."""
    return _current


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


_OF_A_TEAM = "^[a-z][a-z0-9]*(-[a-z0-9]+)*$"


def _known(name: str) -> str:
    library = current()
    if name not in BLUEPRINTS and name not in library.blueprints and not library.lenient:
        known = [*BLUEPRINTS, *library.blueprints]
        raise problem(
            f'blueprint cannot be "{name}"',
            hint=nearest(name, known) or f"use one of {', '.join(known)}",
        )
    return name


Blueprint = Annotated[
    StrictStr,
    AfterValidator(_known),
    WithJsonSchema(
        {"anyOf": [{"enum": list(BLUEPRINTS)}, {"type": "string", "pattern": _OF_A_TEAM}]}
    ),
]
"""The name of a blueprint, the generator's or the team's."""


def taken_names(blueprint: str) -> frozenset[str]:
    """Return the names that a blueprint's code binds or reads: `taken` in `blueprint.yaml`. Empty for an unknown blueprint.

    A test compares the list with the code.
    """
    return frozenset(_facts(blueprint).get("taken", ()))


def own_params(blueprint: str) -> dict[str, str]:
    """Return the blueprint's own parameters with their types: `params` in `blueprint.yaml`. A test compares the list with the code."""
    return dict(_facts(blueprint).get("params", {}))


def _facts(blueprint: str) -> dict[str, Any]:
    team = current().blueprints.get(blueprint)
    if team is None:
        return _own_facts(blueprint)
    import yaml

    try:
        facts = yaml.safe_load(team.texts["blueprint.yaml"])
    except yaml.YAMLError:
        return {}
    return facts if isinstance(facts, dict) else {}


@lru_cache
def _own_facts(blueprint: str) -> dict[str, Any]:
    import yaml

    if blueprint not in BLUEPRINTS:
        return {}
    path = assets.blueprints() / blueprint / "blueprint.yaml"
    facts: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return facts
