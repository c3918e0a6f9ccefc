"""The filters of the project's template and the blueprints, as the Jinja2 extension that copier loads."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING

from jinja2.ext import Extension

from targcc_gen.render.literals import mdtext, pyliteral, tomlstr, yamlstr

if TYPE_CHECKING:
    from jinja2 import Environment

_reuse: ContextVar[bool] = ContextVar("reuse", default=False)


class Literals(Extension):
    """`pyliteral`, `tomlstr`, `yamlstr` and `mdtext`: text as a literal of the language it lands in."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        environment.filters |= {
            "pyliteral": pyliteral,
            "tomlstr": tomlstr,
            "yamlstr": yamlstr,
            "mdtext": mdtext,
        }
        if _reuse.get():
            vars(environment)["from_string"] = cache(environment.from_string)


@contextlib.contextmanager
def reusing_templates() -> Iterator[None]:
    """Compile a text once for each environment made meanwhile.

    Copier renders each folder's name again for every file below it, and compiles it each time: measured, a fifth of its time.
    """
    token = _reuse.set(True)
    try:
        yield
    finally:
        _reuse.reset(token)
