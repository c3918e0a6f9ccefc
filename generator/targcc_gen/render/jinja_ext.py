"""The filters of the project's template and the blueprints, as the Jinja2 extension that copier loads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jinja2.ext import Extension

from targcc_gen.render.literals import pyliteral, tomlstr, yamlstr

if TYPE_CHECKING:
    from jinja2 import Environment


class Literals(Extension):
    """`pyliteral`, `tomlstr` and `yamlstr`: text as a literal of the language it lands in."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        environment.filters |= {"pyliteral": pyliteral, "tomlstr": tomlstr, "yamlstr": yamlstr}
