"""A job's typed arguments as Python source: in the signature of `execute`, and in the call of its test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from targcc_gen.render.literals import pyliteral

if TYPE_CHECKING:
    from targcc_gen.spec import Param

Imports = frozenset[tuple[str, str]]
"""What a piece of source needs: pairs of module and name."""


@dataclass(frozen=True)
class _Type:
    """How a parameter's type is written.

    Attributes:
        annotation: In a signature.
        with_default: In a signature with a default value, which nobody must be able to change.
        sample: A value for a test.
        imports: What the annotation needs.
        default_imports: What `with_default` needs.
        sample_imports: What the sample needs besides.
    """

    annotation: str
    sample: str
    imports: Imports = frozenset()
    with_default: str | None = None
    default_imports: Imports | None = None
    sample_imports: Imports = frozenset()


_ANY = ("typing", "Any")
_TYPES = {
    "str": _Type("str", '"text"'),
    "int": _Type("int", "1"),
    "float": _Type("float", "1.5"),
    "bool": _Type("bool", "True"),
    "date": _Type("date", "date(2026, 1, 1)", frozenset({("datetime", "date")})),
    "datetime": _Type(
        "datetime",
        "datetime(2026, 1, 1, tzinfo=UTC)",
        frozenset({("datetime", "datetime")}),
        sample_imports=frozenset({("datetime", "UTC")}),
    ),
    "uuid": _Type("UUID", "UUID(int=1)", frozenset({("uuid", "UUID")})),
    "list[str]": _Type(
        "list[str]",
        '["text"]',
        with_default="Sequence[str]",
        default_imports=frozenset({("collections.abc", "Sequence")}),
    ),
    "list[int]": _Type(
        "list[int]",
        "[1]",
        with_default="Sequence[int]",
        default_imports=frozenset({("collections.abc", "Sequence")}),
    ),
    "dict": _Type(
        "dict[str, Any]",
        '{"key": 1}',
        frozenset({_ANY}),
        with_default="Mapping[str, Any]",
        default_imports=frozenset({_ANY, ("collections.abc", "Mapping")}),
    ),
}

# Defaults that are made by a call stand in a constant: a call in a signature reads as if it ran each time.
_IN_CONSTANTS = ("datetime", "uuid")


@dataclass(frozen=True)
class Parameters:
    """A job's arguments, ready to print.

    Attributes:
        declared: `user_id: int` and `since: date = date(2026, 1, 1)`, as a signature has them.
        arguments: `user_id=user_id, since=since`.
        samples: `user_id=1`: values for those without a default.
        constants: Lines that define the defaults which need one.
        imports: What the signature and the constants need.
        sample_imports: What the samples need.
    """

    declared: tuple[str, ...]
    arguments: str
    samples: str
    constants: tuple[str, ...]
    imports: Imports
    sample_imports: Imports


def parameters_of(params: Mapping[str, Param]) -> Parameters:
    """The source for a job's parameters, in the spec's order."""
    required = {name: _TYPES[param.type] for name, param in params.items() if param.required}
    samples = [f"{name}={kind.sample}" for name, kind in required.items()]
    sample_imports = [
        kind.imports | kind.sample_imports for kind in required.values() if "(" in kind.sample
    ]
    return Parameters(
        declared=tuple(_declared(name, param) for name, param in params.items()),
        arguments=", ".join(f"{name}={name}" for name in params),
        samples=", ".join(samples),
        constants=tuple(_constants(params)),
        imports=frozenset().union(*(_imports(param) for param in params.values())),
        sample_imports=frozenset().union(*sample_imports),
    )


def _declared(name: str, param: Param) -> str:
    kind = _TYPES[param.type]
    if param.required:
        return f"{name}: {kind.annotation}"
    default = _constant(name) if param.type in _IN_CONSTANTS else pyliteral(_frozen(param.default))
    return f"{name}: {kind.with_default or kind.annotation} = {default}"


def _frozen(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def _constants(params: Mapping[str, Param]) -> list[str]:
    return [
        f"{_constant(name)} = {pyliteral(param.default)}"
        for name, param in params.items()
        if param.type in _IN_CONSTANTS and not param.required
    ]


def _constant(name: str) -> str:
    return f"DEFAULT_{name.upper()}"


def _imports(param: Param) -> Imports:
    kind = _TYPES[param.type]
    if param.required or kind.default_imports is None:
        return kind.imports
    return kind.default_imports
