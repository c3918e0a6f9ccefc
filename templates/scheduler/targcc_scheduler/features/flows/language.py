"""Parse and evaluate the conditions and templates of flows."""

from __future__ import annotations

import ast
import keyword
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

# Errors of flows.


class FlowError(ValueError):
    """An invalid flow, or an invalid expression in a flow.

    Args:
        message: The problem.
        column: Start of the wrong part in the expression, in characters from 0; ``None`` if the error concerns no text.
        length: Length of the wrong part, in characters.
    """

    code = "TS211"

    def __init__(self, message: str, column: int | None = None, length: int = 1) -> None:
        super().__init__(message)
        self.column = column
        self.length = length


# The language of conditions and templates: comparisons, ``and``, ``or``, ``not``, ``in``, literals, and metadata of steps: ``step.key``.
#
# Python's parser parses a text; then a list of allowed nodes filters the tree. Nothing is compiled or called, and no attribute of
# a Python object is ever read: ``step.key`` looks up a key in a mapping of JSON values.

LONGEST = 500
"""Limit of characters in an expression."""
MOST_PARTS = 100
"""Limit of names, literals and operators in an expression."""
_WORDS = {"and", "or", "not", "in", "True", "False", "None"}
# A step may have a keyword as its name, such as `import`: Python parses the text with the keyword's last letter replaced.
_STAND_INS = {word[:-1] + "\u0167": word for word in keyword.kwlist if word not in _WORDS}
_TOKEN = re.compile(
    r"""(?P<text>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')|(?P<name>[A-Za-z_][A-Za-z0-9_]*)|(?P<odd>[^\x20-\x7e])"""
)
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda one, many: one in many,
    ast.NotIn: lambda one, many: one not in many,
}
_ALLOWED = (
    *(ast.Expression, ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.USub, ast.Compare),
    *(ast.Name, ast.Attribute, ast.Subscript, ast.Constant, ast.List, ast.Tuple, ast.Load),
    *_COMPARE,
)
_SAYS = "comparisons, and, or, not, in, literals, and step.key"


class NotKept:
    """Marker for a value that was not stored in full. An expression that reads the value raises an error."""


@dataclass(frozen=True)
class Name:
    """A name in an expression (a step, ``flow`` or ``item``) with its column."""

    name: str
    column: int


class Expression:
    """A parsed expression.

    Args:
        text: Such as ``import.count > 0 and import.kind in ["full", "delta"]``.

    Raises:
        FlowError: the text is no valid expression; with the position.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self._tree = _parsed(text)
        self.names = tuple(_names(self._tree))

    def value(self, known: Mapping[str, Any]) -> Any:
        """Evaluate the expression with JSON values by name.

        Raises:
            FlowError: a key is missing, a value was not stored in full, or values cannot be compared; with the position.
        """
        value = _value(self._tree.body, known)
        if not _is_whole(value):
            raise _not_kept(self.text, 0)
        return value

    def __str__(self) -> str:
        return self.text


class Template:
    """A text with expressions in braces.

    A template with a single expression and no other text, such as ``{import.files}``, evaluates to the expression's value.
    Any other template evaluates to a text.

    Args:
        text: Such as ``orders-{import.day}.csv``; ``{{`` and ``}}`` are literal braces.

    Raises:
        FlowError: an expression is invalid, or a brace is unmatched.
    """

    def __init__(self, text: str) -> None:
        self.parts = tuple(_parts(text))

    @property
    def names(self) -> Iterator[Name]:
        """Yield the names in the template's expressions, with columns in the template."""
        for at, part in self.parts:
            if isinstance(part, Expression):
                yield from (Name(name.name, at + name.column) for name in part.names)

    def value(self, known: Mapping[str, Any]) -> Any:
        """Evaluate the template with JSON values by name."""
        if len(self.parts) == 1 and isinstance(self.parts[0][1], Expression):
            return self.parts[0][1].value(known)
        return "".join(
            part if isinstance(part, str) else str(part.value(known)) for _, part in self.parts
        )


def filled(value: Any, known: Mapping[str, Any]) -> Any:
    """Evaluate each text in a value as a template; return the value with the results."""
    if isinstance(value, str):
        return Template(value).value(known)
    if isinstance(value, Mapping):
        return {key: filled(item, known) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [filled(item, known) for item in value]
    return value


def texts_in(
    value: Any, path: tuple[str | int, ...] = ()
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield each text in a value with its path."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from texts_in(item, (*path, str(key)))
    elif isinstance(value, list | tuple):
        for place, item in enumerate(value):
            yield from texts_in(item, (*path, place))


def _parsed(text: str) -> ast.Expression:
    if len(text) > LONGEST:
        raise FlowError(f"an expression has at most {LONGEST} characters", LONGEST)
    if not text.strip():
        raise FlowError("an expression is missing", 0)
    guarded = _guarded(text)
    lead = len(guarded) - len(guarded.lstrip())
    try:
        tree = ast.parse(guarded.lstrip(), mode="eval")
    except SyntaxError as error:
        column = min(max((error.offset or 1) - 1, 0) + lead, len(text) - 1)
        raise FlowError("this cannot be read", column) from None
    except (ValueError, RecursionError, MemoryError):
        raise FlowError("this cannot be read", 0) from None
    encoded, nodes = guarded.lstrip().encode(), list(ast.walk(tree))
    for node in nodes:
        if isinstance(node, ast.expr):  # ast counts bytes; columns here count characters
            end = node.end_col_offset or node.col_offset
            node.col_offset = lead + len(encoded[: node.col_offset].decode())
            node.end_col_offset = lead + len(encoded[:end].decode())
    for node in nodes:
        _check(node)
    if sum(isinstance(node, ast.expr) for node in nodes) > MOST_PARTS:
        raise FlowError(f"an expression has at most {MOST_PARTS} parts", 0)
    return tree


def _guarded(text: str) -> str:
    """Replace Python's keywords in the text by stand-ins of equal length, except the words of the language."""

    def guard(match: re.Match[str]) -> str:
        if match["odd"]:
            raise FlowError(f"{match['odd']!r} may stand in a text only", match.start())
        word = match["name"]
        if word and keyword.iskeyword(word) and word not in _WORDS:
            return word[:-1] + "\u0167"
        return match[0]

    return _TOKEN.sub(guard, text)


def _check(node: ast.AST) -> None:
    column, end = getattr(node, "col_offset", 0), getattr(node, "end_col_offset", None)
    length = max(1, (end or column + 1) - column)
    if not isinstance(node, _ALLOWED):
        raise FlowError(f"this may not be in an expression, which has {_SAYS}", column, length)
    if isinstance(node, ast.Constant) and not isinstance(
        node.value, str | int | float | bool | None
    ):
        raise FlowError("a literal is a text, a number, True, False or None", column, length)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        operand = node.operand
        if not (isinstance(operand, ast.Constant) and type(operand.value) in {int, float}):
            raise FlowError("a minus stands before a number only", column, length)
    if isinstance(node, ast.Subscript) and not isinstance(node.slice, ast.Constant):
        raise FlowError("a key in brackets is a literal", column, length)


def _names(tree: ast.Expression) -> Iterator[Name]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield Name(_unguarded(node.id), node.col_offset)


def _unguarded(name: str) -> str:
    return _STAND_INS.get(name, name)


def _value(  # noqa: PLR0911 - one line for each kind of part
    node: ast.expr, known: Mapping[str, Any]
) -> Any:
    match node:
        case ast.Constant():
            return node.value
        case ast.List() | ast.Tuple():
            return [_value(element, known) for element in node.elts]
        case ast.Name():
            return _look(known, _unguarded(node.id), node)
        case ast.Attribute():
            return _look(_value(node.value, known), _unguarded(node.attr), node)
        case ast.Subscript():
            return _look(_value(node.value, known), _value(node.slice, known), node)
        case ast.UnaryOp(op=ast.Not()):
            return not _value(node.operand, known)
        case ast.UnaryOp():
            return -_value(node.operand, known)
        case ast.BoolOp():
            return _either(node, known)
        case ast.Compare():
            return _compared(node, known)
    raise FlowError("this may not be in an expression", node.col_offset)


def _either(node: ast.BoolOp, known: Mapping[str, Any]) -> Any:
    """Evaluate ``and`` or ``or`` as Python does: return the first value that decides."""
    value: Any = None
    for operand in node.values:
        value = _value(operand, known)
        if bool(value) is isinstance(node.op, ast.Or):
            break
    return value


def _compared(node: ast.Compare, known: Mapping[str, Any]) -> bool:
    left = _value(node.left, known)
    for kind, operand in zip(node.ops, node.comparators, strict=True):
        right = _value(operand, known)
        try:
            if not _COMPARE[type(kind)](left, right):
                return False
        except TypeError:
            message = f"{_kind(left)} cannot be compared so with {_kind(right)}"
            raise FlowError(message, node.col_offset) from None
        left = right
    return True


def _look(value: Any, key: Any, node: ast.expr) -> Any:
    """Return a key of a mapping, an index of a list, or the key in each item of a list (a step with several runs)."""
    if isinstance(value, list) and isinstance(key, str):
        return [_look(item, key, node) for item in value]
    try:
        if isinstance(value, dict) or (isinstance(value, list) and type(key) is int):
            result = value[key]
            if isinstance(result, NotKept):
                raise _not_kept(repr(key), node.col_offset)
            return result
    except (KeyError, IndexError, TypeError):
        pass  # raise the error below, with the position
    raise FlowError(f"there is no {key!r}", node.col_offset)


def _is_whole(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(_is_whole, value.values()))
    if isinstance(value, list):
        return all(map(_is_whole, value))
    return not isinstance(value, NotKept)


def _not_kept(what: str, column: int) -> FlowError:
    return FlowError(f"{what} was not kept as it was given: it is too much, or secret", column)


def _kind(value: Any) -> str:
    kinds = {str: "a text", bool: "true or false", int: "a number", float: "a number"}
    return "nothing" if value is None else kinds.get(type(value), "a list or mapping")


_BRACES = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


def _parts(text: str) -> Iterator[tuple[int, str | Expression]]:
    """Yield each part of a template with its start column."""
    end = 0
    for match in _BRACES.finditer(text):
        if match.start() > end:
            yield end, text[end : match.start()]
        end = match.end()
        if match[0] in {"{{", "}}"}:
            yield match.start(), match[0][0]
        elif match[1] is None:
            raise FlowError(f'a single "{match[0]}": doubled, it stays as it is', match.start())
        else:
            try:
                yield match.start() + 1, Expression(match[1])
            except FlowError as error:
                column = match.start() + 1 + (error.column or 0)
                raise FlowError(str(error), column, error.length) from None
    if end < len(text):
        yield end, text[end:]
