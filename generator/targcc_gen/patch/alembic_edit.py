"""Edit Alembic's `env.py` with libcst: every byte but the import and the option stays."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import libcst as cst

from targcc_gen.patch.alembic_env import NAME, OPTION, AlembicEnv, find_envs, module_for
from targcc_gen.patch.app_file import AppFile, Replacement, Source, SourceError
from targcc_gen.patch.import_order import ImportOrder, place_import, read_order
from targcc_gen.patch.wiring import remove_import
from targcc_gen.sync.import_style import BLACKS_LENGTH, line_length

_BEFORE = ("target_metadata", "connection", "url")
"""The arguments that the option goes behind, the first that a call has."""
_NAMES = "name"
"""The parameter of the function that joins the app's own rule with ours."""

Call = Callable[[cst.Call], cst.Call | None]


def read_envs(root: Path, source: Path, package: str) -> list[AlembicEnv]:
    """Return each `env.py` of an app, with the option put in.

    Args:
        root: The project's folder.
        source: The folder with the scheduler's package.
        package: The scheduler's package.
    """
    order, length = read_order(root, source, package), line_length(root)
    return [
        AlembicEnv(
            path, data, with_option(data, module, order, length), f"from {module} import {NAME}"
        )
        for path, data in find_envs(root)
        for module in (module_for(data, source, package),)
    ]


def with_option(
    data: bytes, module: str, order: ImportOrder | None = None, length: int = BLACKS_LENGTH
) -> bytes | None:
    """Return the file with the import and the option in each call of `context.configure`.

    Args:
        data: The file.
        module: The module to import from.
        order: The app's order of imports.
        length: The longest line of the app's formatter.

    Returns:
        The new bytes, or the same bytes if the file has the name already; None if the file cannot be edited with certainty.
    """
    if NAME.encode() in data:
        return data
    tree = _parsed(data)
    if tree is None:
        return None
    names_option = OPTION.encode() in data
    order = order or ImportOrder()
    for comes_first in (False, True):  # first where the app's own break looks like ours
        editor = _Editor(partial(_added, names_option=names_option, comes_first=comes_first))
        new = tree.visit(editor)
        if not editor.calls or editor.calls != editor.changed:
            return None
        after = _with_import(new.bytes, module, order)
        ways = [] if after is None else [_broken(after, length), after]
        for way in ways:
            if without_option(way, length) == data:
                return way
    return None


def without_option(data: bytes, length: int = BLACKS_LENGTH) -> bytes:
    """Return the file without the import and the option; unchanged if the file has none.

    Args:
        data: The file.
        length: The longest line of the app's formatter.
    """
    tree = _parsed(_unbroken(data, length)) if NAME.encode() in data else None
    if tree is None:
        return data
    return _without_import(tree.visit(_Editor(_removed)).bytes)


def _parsed(data: bytes) -> cst.Module | None:
    try:
        return cst.parse_module(data)
    except (cst.ParserSyntaxError, UnicodeDecodeError, LookupError, RecursionError):
        return None


class _Editor(cst.CSTTransformer):
    """Edits the calls of `context.configure`, where `context` comes from Alembic.

    Args:
        edit: Returns the call after the edit; None leaves the call.
    """

    def __init__(self, edit: Call) -> None:
        super().__init__()
        self._edit = edit
        self._contexts: set[str] = {"alembic.context"}
        self.calls = 0
        self.changed = 0

    def visit_ImportFrom(self, node: cst.ImportFrom) -> None:  # noqa: N802 - libcst's name
        """Note the name of `context`."""
        if _dotted(node.module) != "alembic" or isinstance(node.names, cst.ImportStar):
            return
        for alias in node.names:
            if _dotted(alias.name) == "context":
                self._contexts.add(_dotted(alias.asname.name) if alias.asname else "context")

    def leave_Call(  # noqa: N802 - libcst's name
        self, original_node: cst.Call, updated_node: cst.Call
    ) -> cst.Call:
        """Edit the call."""
        del original_node
        function = updated_node.func
        if (
            not isinstance(function, cst.Attribute)
            or function.attr.value != "configure"
            or _dotted(function.value) not in self._contexts
        ):
            return updated_node
        self.calls += 1
        edited = self._edit(updated_node)
        self.changed += edited is not None
        return updated_node if edited is None else edited


def _dotted(node: cst.CSTNode | None) -> str:
    if isinstance(node, cst.Attribute):
        return f"{_dotted(node.value)}.{node.attr.value}"
    return node.value if isinstance(node, cst.Name) else ""


# The option in a call.


def _added(call: cst.Call, *, names_option: bool, comes_first: bool) -> cst.Call | None:
    """Return the call with the option; None if another part of the file may give the same option."""
    own = _index(call, OPTION)
    if own is not None:
        return _with_args(
            call, own, call.args[own].with_changes(value=_joined(call.args[own].value))
        )
    if names_option and any(arg.star == "**" for arg in call.args):
        return None
    place = next((i for name in _BEFORE if (i := _index(call, name)) is not None), None)
    if place is None:
        return None
    before = call.args[place]
    option = cst.Arg(
        keyword=cst.Name(OPTION),
        value=cst.Name(NAME),
        equal=cst.AssignEqual(cst.SimpleWhitespace(""), cst.SimpleWhitespace("")),
    )
    if comes_first and call.args[0].keyword is not None:
        comma = _plain(call.args[0].comma)
        if len(call.args) == 1:
            comma = cst.Comma(whitespace_after=cst.SimpleWhitespace(" "))
        return call.with_changes(args=(option.with_changes(comma=comma), *call.args))
    if place + 1 < len(call.args):
        comma = _plain(before.comma)
        args = (*call.args[: place + 1], option.with_changes(comma=comma), *call.args[place + 1 :])
        return call.with_changes(args=args)
    comma = _plain(call.args[place - 1].comma) if place else cst.MaybeSentinel.DEFAULT
    if not isinstance(comma, cst.Comma):
        comma = cst.Comma(whitespace_after=cst.SimpleWhitespace(" "))
    option = option.with_changes(
        comma=before.comma, whitespace_after_arg=before.whitespace_after_arg
    )
    before = before.with_changes(comma=comma, whitespace_after_arg=cst.SimpleWhitespace(""))
    return call.with_changes(args=(*call.args[:place], before, option))


def _removed(call: cst.Call) -> cst.Call | None:
    """Return the call without the option, or with the app's own rule alone; None for a call without ours."""
    place = _index(call, OPTION)
    if place is None:
        return None
    option = call.args[place]
    if isinstance(option.value, cst.Name) and option.value.value == NAME:
        args = [*call.args[:place], *call.args[place + 1 :]]
        if place and place == len(args):
            args[-1] = args[-1].with_changes(
                comma=option.comma, whitespace_after_arg=option.whitespace_after_arg
            )
        return call.with_changes(args=args)
    own = _own_of(option.value)
    return None if own is None else _with_args(call, place, option.with_changes(value=own))


def _joined(own: cst.BaseExpression) -> cst.Lambda:
    """Return a rule that excludes our tables, and asks the app's own rule about the others."""
    rule = cst.parse_expression(f"lambda *{_NAMES}: {NAME}(*{_NAMES}) and own(*{_NAMES})")
    assert isinstance(rule, cst.Lambda)
    assert isinstance(rule.body, cst.BooleanOperation)
    assert isinstance(rule.body.right, cst.Call)
    called = own
    if not isinstance(own, cst.Name | cst.Attribute | cst.Call):
        called = own.with_changes(
            lpar=[*own.lpar, cst.LeftParen()], rpar=[cst.RightParen(), *own.rpar]
        )
    return rule.with_deep_changes(rule.body.right, func=called)


def _own_of(rule: cst.BaseExpression) -> cst.BaseExpression | None:
    """Return the app's own rule within a joined rule; None for any other expression."""
    body = rule.body if isinstance(rule, cst.Lambda) else None
    if not isinstance(body, cst.BooleanOperation) or not isinstance(body.right, cst.Call):
        return None
    if not isinstance(body.left, cst.Call) or _dotted(body.left.func) != NAME:
        return None
    own = body.right.func
    if not isinstance(own, cst.Name | cst.Attribute | cst.Call):
        own = own.with_changes(lpar=own.lpar[:-1], rpar=own.rpar[1:])
    return own


def _index(call: cst.Call, name: str) -> int | None:
    return next(
        (
            i
            for i, arg in enumerate(call.args)
            if arg.keyword is not None and arg.keyword.value == name
        ),
        None,
    )


def _with_args(call: cst.Call, place: int, arg: cst.Arg) -> cst.Call:
    return call.with_changes(args=(*call.args[:place], arg, *call.args[place + 1 :]))


def _plain(comma: cst.Comma | cst.MaybeSentinel) -> cst.Comma | cst.MaybeSentinel:
    """Return a comma with the same line break and indentation, without comments and blank lines."""
    if not isinstance(comma, cst.Comma):
        return comma
    space = comma.whitespace_after
    if isinstance(space, cst.ParenthesizedWhitespace):
        line = cst.TrailingWhitespace(newline=space.first_line.newline)
        space = space.with_changes(first_line=line, empty_lines=[])
    return comma.with_changes(whitespace_after=space)


# The import, among the last imports above the first call: an `env.py` may extend `sys.path` between its imports.


def _with_import(data: bytes, module: str, order: ImportOrder) -> bytes | None:
    """Return the file with the import; None if no import at module level is above the first call."""
    try:
        file = AppFile(Source("env.py", data))
        calls = (
            statement
            for statement in file.module.body
            if any(
                isinstance(node, ast.Attribute) and node.attr == "configure"
                for node in ast.walk(statement)
            )
        )
        change = place_import(
            file, file.line_of(next(calls)), f"from {module} import {NAME}", order
        )
        return None if change is None else file.source.edited([change])
    except (SourceError, StopIteration):
        return None


def _without_import(data: bytes) -> bytes:
    file = AppFile(Source("env.py", data))
    for node in file.module.body:
        if isinstance(node, ast.ImportFrom) and [alias.name for alias in node.names] == [NAME]:
            return file.source.edited([remove_import(file, node)])
    return data


# Line breaks of a call that the option makes too long, as black and ruff break the call.

_INDENT = "    "
_BODY_ALONE = 3  # lines of a call whose arguments are together on a line of their own


@dataclass(frozen=True)
class _Written:
    """A call of the file that has the option, and not as its first argument.

    Args:
        first: The first line.
        lines: The lines without their ends.
        arguments: The arguments.
        others: The arguments without the option.
        start: The column behind the opening bracket.
        indent: The indentation.
    """

    first: int
    lines: tuple[str, ...]
    arguments: tuple[str, ...]
    others: tuple[str, ...]
    start: int
    indent: str

    @property
    def head(self) -> str:
        """The text up to the opening bracket."""
        return self.lines[0][: self.start]

    @property
    def tail(self) -> str:
        """The text from the closing bracket."""
        return self.lines[-1][self.lines[-1].rindex(")") :]

    def laid_out(self, arguments: Sequence[str], length: int) -> tuple[str, ...]:
        """Return the lines of the call with these arguments, as black writes them."""
        joined, inner = ", ".join(arguments), self.indent + _INDENT
        if len(self.head + joined + self.tail) <= length:
            return (self.head + joined + self.tail,)
        if len(inner + joined) <= length:
            return (self.head, inner + joined, self.indent + self.tail)
        body = (f"{inner}{argument}," for argument in arguments)
        return (self.head, *body, self.indent + self.tail)

    def replaced(self, lines: Sequence[str]) -> Replacement:
        """Return the edit that writes these lines in place of the call."""
        return Replacement(self.first, self.first + len(self.lines) - 1, tuple(lines))


def _broken(data: bytes, length: int) -> bytes:
    """Return the file with breaks in each call that the option made longer than a line."""
    source = Source("env.py", data)
    for call in _calls(source):
        is_together = len(call.lines) == 1 or len(call.lines) == _BODY_ALONE
        lines = call.laid_out(call.arguments, length)
        is_better = max(map(len, lines)) <= length < max(map(len, call.lines))
        if is_together and is_better:
            return _broken(source.edited([call.replaced(lines)]), length)
    return data


def _unbroken(data: bytes, length: int) -> bytes:
    """Return the file without the breaks of `_broken`."""
    source = Source("env.py", data)
    for call in _calls(source):
        before = call.laid_out(call.others, length)
        joined = ", ".join(call.arguments)
        if len(before) == 1:
            lines: tuple[str, ...] = (call.head + joined + call.tail,)
        else:
            lines = (before[0], call.indent + _INDENT + joined, before[-1])
        is_ours = call.lines == call.laid_out(call.arguments, length)
        if is_ours and len(before) <= _BODY_ALONE and max(map(len, lines)) > length:
            return _unbroken(source.edited([call.replaced(lines)]), length)
    return data


def _calls(source: Source) -> Iterator[_Written]:
    for node in ast.walk(source.module):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        lines = source.lines[node.lineno - 1 : node.end_lineno or node.lineno]
        lines = tuple(line.rstrip("\r\n") for line in lines)
        if not "".join(lines).isascii():
            continue
        parts = (*node.args, *node.keywords)
        arguments = tuple(ast.get_source_segment(source.text, part) or "" for part in parts)
        others = tuple(argument for argument in arguments if argument != f"{OPTION}={NAME}")
        start = lines[0].find("(", node.func.end_col_offset or 0) + 1
        if start and len(others) < len(arguments) and others[:1] == arguments[:1]:
            indent = source.indent_of(node.lineno)
            yield _Written(node.lineno, lines, arguments, others, start, indent)
