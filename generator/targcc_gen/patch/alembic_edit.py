"""Edit Alembic's `env.py` with libcst: every byte but the import and the option stays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import libcst as cst

from targcc_gen.patch.alembic_env import NAME, OPTION, AlembicEnv, find_envs, module_for

_BEFORE = ("target_metadata", "connection", "url")
"""The arguments that the option goes behind, the first that a call has."""
_THIRD_PARTY = ("sqlalchemy", "sqlmodel", "flask")
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
    return [
        AlembicEnv(path, data, with_option(data, module), f"from {module} import {NAME}")
        for path, data in find_envs(root)
        for module in (module_for(data, source, package),)
    ]


def with_option(data: bytes, module: str) -> bytes | None:
    """Return the file with the import and the option in each call of `context.configure`.

    Args:
        data: The file.
        module: The module to import from.

    Returns:
        The new bytes, or the same bytes if the file has the name already; None if the file cannot be edited with certainty.
    """
    if NAME.encode() in data:
        return data
    tree = _parsed(data)
    if tree is None:
        return None
    names_option = OPTION.encode() in data
    editor = _Editor(lambda call: _added(call, names_option=names_option))
    new = tree.visit(editor)
    if not editor.calls or editor.calls != editor.changed or not any(map(_module_of, tree.body)):
        return None
    new = new.with_changes(body=_with_import(new.body, module))
    return new.bytes if without_option(new.bytes) == data else None


def without_option(data: bytes) -> bytes:
    """Return the file without the import and the option; unchanged if the file has none."""
    tree = _parsed(data) if NAME.encode() in data else None
    if tree is None:
        return data
    new = tree.visit(_Editor(_removed))
    return new.with_changes(body=_without_import(new.body)).bytes


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


def _added(call: cst.Call, *, names_option: bool) -> cst.Call | None:
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


# The import, among the imports of the same kind.

Body = Sequence[cst.BaseStatement | cst.SimpleStatementLine]


def _with_import(body: Body, module: str) -> Body:
    """Add the import, in order among those of the same package, else below the last of a third party."""
    statement = cst.parse_statement(f"from {module} import {NAME}")
    assert isinstance(statement, cst.SimpleStatementLine)
    imports = [(i, name) for i, node in enumerate(body) if (name := _module_of(node))]
    top = module.partition(".")[0]
    same = [(i, name) for i, name in imports if name.partition(".")[0] == top]
    before = [i for i, name in same if name <= module]
    if same and not before:
        place = same[0][0]
        first = body[place]
        assert isinstance(first, cst.SimpleStatementLine)
        statement = statement.with_changes(leading_lines=first.leading_lines)
        first = first.with_changes(leading_lines=[])
        return [*body[:place], statement, first, *body[place + 1 :]]
    others = [i for i, name in imports if name.partition(".")[0] in _THIRD_PARTY]
    place = (before or others or [i for i, _ in imports])[-1] + 1
    return [*body[:place], statement, *body[place:]]


def _without_import(body: Body) -> Body:
    """Remove the import; its comments and blank lines go to the next statement."""
    rest: list[cst.BaseStatement | cst.SimpleStatementLine] = []
    lines: Sequence[cst.EmptyLine] = ()
    for node in body:
        if isinstance(node, cst.SimpleStatementLine) and _is_ours(node):
            lines = node.leading_lines
            continue
        leading = getattr(node, "leading_lines", ())
        rest.append(node.with_changes(leading_lines=[*lines, *leading]) if lines else node)
        lines = ()
    return rest


def _module_of(node: cst.CSTNode) -> str:
    """Return the module of a statement that is an absolute import; empty for any other statement."""
    if not isinstance(node, cst.SimpleStatementLine) or len(node.body) != 1:
        return ""
    statement = node.body[0]
    if isinstance(statement, cst.ImportFrom):
        return _dotted(statement.module)
    return _dotted(statement.names[0].name) if isinstance(statement, cst.Import) else ""


def _is_ours(node: cst.SimpleStatementLine) -> bool:
    statement = node.body[0] if node.body else None
    return (
        isinstance(statement, cst.ImportFrom)
        and not isinstance(statement.names, cst.ImportStar)
        and [_dotted(alias.name) for alias in statement.names] == [NAME]
    )
