"""Names of blueprints, a team's included, and the parameters of their `execute`."""

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
    "report",
    "cleanup",
    "batch",
    "sync",
    "backup",
    "alert-check",
    "stored-procedure",
    "not-ported",
)
"""The generator's own."""

PARTS = ("blueprint.yaml", "job.py.jinja", "test.py.jinja")
"""The files of a blueprint."""


OVERRIDES = "templates/overrides"
"""Beside a spec, or beside a file that it extends: files that take the place of the generator's."""


@dataclass(frozen=True)
class TeamBlueprint:
    """A blueprint of a team.

    Attributes:
        name: Its name, and that of its folder.
        origin: The folder, relative to the project's.
        texts: Its files by name.
        source: Of one that comes from a git repository: which, and the commit.
    """

    name: str
    origin: str
    texts: dict[str, str]
    source: str = ""

    @property
    def sha256(self) -> str:
        """The checksum of all of it."""
        return _digest("\0".join(self.texts[part] for part in PARTS))


@dataclass(frozen=True)
class Override:
    """A file of a team that takes the place of one of the generator's, or comes to them.

    Attributes:
        path: Where it goes, below the project's folder; `{{ package }}` stands for the package.
        origin: The file, relative to the project's folder.
        text: What is in it.
        is_template: Whether it is rendered.
    """

    path: str
    origin: str
    text: str
    is_template: bool

    @property
    def sha256(self) -> str:
        """The checksum of its text."""
        return _digest(self.text)


@dataclass(frozen=True)
class Library:
    """What a project has of a team's.

    Attributes:
        blueprints: By name.
        overrides: By path.
        lenient: Whether a spec names folders that nobody has read: then any name may be a blueprint.
        commits: What the project has of git repositories: the commit of each, by its name in the lock.
    """

    blueprints: dict[str, TeamBlueprint] = field(default_factory=dict)
    overrides: dict[str, Override] = field(default_factory=dict)
    lenient: bool = False
    commits: dict[str, str] = field(default_factory=dict)


_current = Library()
_generation = 0


def use(library: Library) -> None:
    """Let specs be checked, and jobs be rendered, with these; a process is about one project."""
    global _current, _generation  # noqa: PLW0603 - the one place where a process keeps them
    if library != _current:
        _current = library
        _generation += 1


def generation() -> int:
    """A number that is another one when the library is."""
    return _generation


def current() -> Library:
    """What the project of this process has of a team's."""
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
"""The name of one of the generator's blueprints, or of the team's."""


def taken_names(blueprint: str) -> frozenset[str]:
    """What it binds or reads, `taken` in `blueprint.yaml`; a test compares it with the code. Nothing for an unknown blueprint."""
    return frozenset(_facts(blueprint).get("taken", ()))


def own_params(blueprint: str) -> dict[str, str]:
    """The parameters that it has of itself, with their types: `params` in `blueprint.yaml`, held by a test too."""
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

    if blueprint not in {folder.name for folder in assets.blueprints().iterdir()}:
        return {}
    path = assets.blueprints() / blueprint / "blueprint.yaml"
    facts: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return facts
