"""Blueprints: what a job's module and its test start out as."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from targcc_gen import assets
from targcc_gen.errors import InputError
from targcc_gen.spec.blueprint_names import TeamBlueprint, current

if TYPE_CHECKING:
    from jinja2 import Environment


@dataclass(frozen=True)
class Blueprint:
    """One blueprint.

    Attributes:
        name: Its name, and that of its folder.
        summary: What it is a start for, in one line.
        docstring: The docstring of a job that has no description.
        defaults: Values by the spec's keys that `targcc-gen job` gives a job of this kind.
        origin: Where it comes from: the generator, or a folder.
        source: Of a folder that is a copy: the git repository, and the commit.
    """

    name: str
    summary: str
    docstring: str
    defaults: dict[str, Any]
    origin: str = "targcc-gen"
    source: str = ""


def blueprint(name: str) -> Blueprint:
    """The blueprint called `name`, the generator's or the team's.

    Raises:
        InputError: There is none, or the team's is wrong.
    """
    team = current().blueprints.get(name)
    return _own(name) if team is None else _of_team(team)


def _of_team(team: TeamBlueprint) -> Blueprint:
    from targcc_gen.spec.reading.loader import parse_tree

    where = f"{team.origin}/blueprint.yaml"
    data = parse_tree(team.texts["blueprint.yaml"], where)[0].data()
    for key in ("summary", "docstring"):
        if not isinstance(data.get(key), str):
            raise InputError(f"{where}: it has no {key}", hint=f'write "{key}: one sentence"')
    defaults = data.get("defaults") or {}
    if not isinstance(defaults, dict):
        raise InputError(f"{where}: defaults is a mapping", hint="for example {retries: 5}")
    return Blueprint(
        team.name, data["summary"], data["docstring"], defaults, team.origin, team.source
    )


@lru_cache
def _own(name: str) -> Blueprint:
    from targcc_gen.spec.reading.loader import parse_tree

    path = assets.blueprints() / name / "blueprint.yaml"
    if name not in blueprint_names():
        raise InputError(f"no blueprint {name}", hint=f"use one of {', '.join(blueprint_names())}")
    tree, _ = parse_tree(path.read_text(encoding="utf-8"), str(path))
    data = tree.data()
    return Blueprint(name, data["summary"], data["docstring"], data.get("defaults", {}))


def blueprint_names() -> list[str]:
    """The names of all blueprints, sorted."""
    own = [path.parent.name for path in assets.blueprints().glob("*/blueprint.yaml")]
    return sorted([*own, *current().blueprints])


def printed(name: str, part: str, values: Mapping[str, Any]) -> str:
    """What a template of a blueprint prints; a team's runs in a sandbox.

    Args:
        name: The blueprint.
        part: `job.py.jinja` or `test.py.jinja`.
        values: What the template is told.

    Raises:
        InputError: The team's template is wrong.
    """
    team = current().blueprints.get(name)
    if team is None:
        return environment().get_template(f"{name}/{part}").render(values)
    from targcc_gen.render.team.sandbox import rendered

    return rendered(f"{team.origin}/{part}", team.texts[part], values)


@lru_cache
def environment() -> Environment:
    """The Jinja2 environment of the blueprints: a name that is not given is an error."""
    import jinja2

    from targcc_gen.render.jinja_ext import Literals

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(assets.blueprints(), encoding="utf-8"),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - Python, not HTML; text comes in as literals
        extensions=[Literals],
    )
