"""Blueprints: what a job's module and its test start out as."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from targcc_gen import assets
from targcc_gen.errors import InputError

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
    """

    name: str
    summary: str
    docstring: str
    defaults: dict[str, Any]


@lru_cache
def blueprint(name: str) -> Blueprint:
    """The blueprint called `name`.

    Raises:
        InputError: There is none.
    """
    from targcc_gen.spec.reading.loader import parse_tree

    path = assets.blueprints() / name / "blueprint.yaml"
    if name not in blueprint_names():
        raise InputError(f"no blueprint {name}", hint=f"use one of {', '.join(blueprint_names())}")
    tree, _ = parse_tree(path.read_text(encoding="utf-8"), str(path))
    data = tree.data()
    return Blueprint(name, data["summary"], data["docstring"], data.get("defaults", {}))


def blueprint_names() -> list[str]:
    """The names of all blueprints, sorted."""
    return sorted(path.parent.name for path in assets.blueprints().glob("*/blueprint.yaml"))


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
