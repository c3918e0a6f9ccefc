"""Jinja2: our filters, also for copier, and the sandbox of a team's templates."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

import jinja2
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension
from jinja2.sandbox import ImmutableSandboxedEnvironment

from targcc_gen.errors import BlueprintError
from targcc_gen.render.literals import mdtext, pyliteral, tomlstr, yamlstr

if TYPE_CHECKING:
    from jinja2 import Environment


# Filters of the project's template and of blueprints, as an extension.

_reuse: ContextVar[bool] = ContextVar("reuse", default=False)


class Literals(Extension):
    """The filters `pyliteral`, `tomlstr`, `yamlstr` and `mdtext`: text as a literal of a language."""

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
            vars(environment)["compile"] = _compiling_once(environment)


@contextlib.contextmanager
def reusing_templates() -> Iterator[None]:
    """Compile a text once for all environments that are made in this context. They have the same settings: those of the project's template.

    Copier renders the name of each folder again for every file below, and compiles the name each time: a fifth of its time, as measured.
    A command that renders a project before and after its change compiles each file once.
    """
    token = _reuse.set(True)
    try:
        yield
    finally:
        _reuse.reset(token)


_codes: dict[tuple[str, str | None, str | None], Any] = {}
"""Compiled code by text, name and file of a template."""


def _compiling_once(environment: Environment) -> Callable[..., Any]:
    compile_text = environment.compile

    def compiled(source: str, name: str | None = None, filename: str | None = None) -> Any:
        key = source, name, filename
        if key not in _codes:
            _codes[key] = compile_text(source, name, filename)
        return _codes[key]

    return compiled


# The sandbox: templates print text and reach no file, no network and no Python.

_LONGEST = 1_000_000
_MOST_ROUNDS = 10_000
_GROWING = ("center", "indent", "format", "wordwrap", "xmlattr", "urlize", "pprint")


class _Sandbox(ImmutableSandboxedEnvironment):
    """A sandbox that forbids output far larger than its template: repeated texts, long ranges, other templates."""

    intercepted_binops = frozenset({"*", "**", "%"})

    def call_binop(
        self, context: jinja2.runtime.Context, operator: str, left: Any, right: Any
    ) -> Any:
        numbers = isinstance(left, int | float) and isinstance(right, int | float)
        if operator == "**" or not numbers:
            raise SecurityError(f"{operator} is for numbers here")
        return super().call_binop(context, operator, left, right)


def _range(*limits: int) -> range:
    numbers = range(*limits)
    if len(numbers) > _MOST_ROUNDS:
        raise SecurityError(f"a range has {_MOST_ROUNDS} numbers at most here")
    return numbers


@lru_cache
def _environment() -> _Sandbox:
    sandbox = _Sandbox(
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,
        extensions=[Literals],
    )
    sandbox.globals = {"range": _range}
    for name in _GROWING:
        sandbox.filters.pop(name, None)
    return sandbox


def rendered(origin: str, text: str, values: Mapping[str, Any]) -> str:
    """Render a template in the sandbox.

    Args:
        origin: The template's place, for messages.
        text: The template.
        values: The variables.

    Raises:
        InputError: The template cannot be rendered; the message has the line.
    """
    try:
        result = _environment().from_string(text).render(values)
    except jinja2.TemplateSyntaxError as error:
        raise BlueprintError(f"{origin}:{error.lineno}: {error.message}") from error
    except (jinja2.TemplateError, SecurityError, ArithmeticError, TypeError, ValueError, LookupError, AttributeError, RecursionError, MemoryError) as error:  # fmt: skip
        raise BlueprintError(f"{origin}:{_line(error)}: {error}") from error
    if len(result) > _LONGEST:
        raise BlueprintError(f"{origin}: it makes more than {_LONGEST // 1_000_000} MB")
    return result


def _line(error: BaseException) -> int:
    """Return the template's line of the error, from the traceback."""
    line, trace = 1, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "<template>":
            line = trace.tb_lineno
        trace = trace.tb_next
    return line
