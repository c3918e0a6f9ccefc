"""Edit the arguments of a `@job(...)` with libcst; every other byte stays."""

from __future__ import annotations

import io
import tokenize
from collections.abc import Mapping, Sequence

import libcst as cst

from targcc_gen.render.python_source import formatted
from targcc_gen.sync.jobs.decorator import SCHEDULE


def edited(content: bytes, name: str, changes: Mapping[str, str | None], generated: bytes) -> bytes:
    """Return the module with some arguments of the job's decorator changed.

    Args:
        content: The module, with `\\n` line ends.
        name: Name of the decorated class or function.
        changes: New source of each argument by name; None removes the argument.
        generated: The generator's text of the module: source of the argument order and of the imports.
    """
    module = cst.parse_module(content.decode("utf-8"))
    pattern = cst.parse_module(generated.decode("utf-8"))
    decorator = _decorator(module, name)
    order = [_name(argument) for argument in _call(_decorator(pattern, None)).args]
    changed = _with_arguments(decorator, changes, order)
    result = module.deep_replace(decorator, _formatted(module, changed))
    assert isinstance(result, cst.Module)
    return _with_imports(result, module, pattern).code.encode()


def _decorator(module: cst.Module, name: str | None) -> cst.Decorator:
    """Return the decorator of the job called `name`; for None, the first job decorator."""
    for node in module.body:
        if isinstance(node, cst.ClassDef | cst.FunctionDef) and name in {None, node.name.value}:
            for decorator in node.decorators:
                if _is_job(decorator):
                    return decorator
    raise LookupError(name)


def _is_job(decorator: cst.Decorator) -> bool:
    call = decorator.decorator
    if not isinstance(call, cst.Call):
        return False
    function = call.func
    if isinstance(function, cst.Attribute):
        return function.attr.value == "job"
    return isinstance(function, cst.Name) and function.value == "job"


def _call(decorator: cst.Decorator) -> cst.Call:
    assert isinstance(decorator.decorator, cst.Call)  # checked by _is_job
    return decorator.decorator


def _name(argument: cst.Arg) -> str:
    if argument.star:
        return argument.star
    return SCHEDULE if argument.keyword is None else argument.keyword.value


def _with_arguments(
    decorator: cst.Decorator, changes: Mapping[str, str | None], order: Sequence[str]
) -> cst.Decorator:
    call = _call(decorator)
    arguments = [
        _changed(argument, changes)
        for argument in call.args
        if changes.get(_name(argument), "") is not None
    ]
    present = {_name(argument) for argument in arguments}
    more = [argument for argument in arguments if argument.star]  # `**options` stay last
    arguments = [argument for argument in arguments if not argument.star]
    for name, source in changes.items():
        if source is not None and name not in present:
            arguments.insert(_place(name, arguments, order), _argument(name, source))
    changed = call.with_changes(args=_separated([*arguments, *more]))
    return decorator.with_changes(decorator=changed)


def _changed(argument: cst.Arg, changes: Mapping[str, str | None]) -> cst.Arg:
    source = changes.get(_name(argument))
    if source is None:
        return argument
    return argument.with_changes(value=cst.parse_expression(source))


def _argument(name: str, source: str) -> cst.Arg:
    value = cst.parse_expression(source)
    if name == SCHEDULE:
        return cst.Arg(value)
    no_space = cst.AssignEqual(cst.SimpleWhitespace(""), cst.SimpleWhitespace(""))
    return cst.Arg(value, cst.Name(name), no_space)


def _place(name: str, arguments: Sequence[cst.Arg], order: Sequence[str]) -> int:
    """Return the index for a new argument: after the last argument that precedes it in the generator's order."""
    if name == SCHEDULE:
        return 0
    before = (
        set(order[: order.index(name)])
        if name in order
        else {_name(argument) for argument in arguments}
    )
    places = [index + 1 for index, argument in enumerate(arguments) if _name(argument) in before]
    return max(places, default=1 if arguments and arguments[0].keyword is None else 0)


def _separated(arguments: list[cst.Arg]) -> list[cst.Arg]:
    """Put a comma after each argument but the last."""
    comma = cst.Comma(whitespace_after=cst.SimpleWhitespace(" "))
    return [
        argument if isinstance(argument.comma, cst.Comma) else argument.with_changes(comma=comma)
        for argument in arguments[:-1]
    ] + arguments[-1:]


def _formatted(module: cst.Module, decorator: cst.Decorator) -> cst.Decorator:
    """Format the decorator with black, keeping comments between arguments."""
    call = _call(decorator)
    # Black writes one argument a line after a trailing comma: needed for comments, unwanted otherwise.
    if _has_comment(module.code_for_node(call)):
        call = _with_last_comma(call, cst.Comma(), replace=False)
    else:
        call = _with_last_comma(call, cst.MaybeSentinel.DEFAULT, replace=True)
    source = f"@{module.code_for_node(call)}\nclass _: ...\n"
    parsed = cst.parse_module(formatted(source)).body[0]
    assert isinstance(parsed, cst.ClassDef)  # the source is a class
    return decorator.with_changes(decorator=parsed.decorators[0].decorator)


def _has_comment(source: str) -> bool:
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return any(token.type == tokenize.COMMENT for token in tokens)


def _with_last_comma(
    call: cst.Call, comma: cst.Comma | cst.MaybeSentinel, *, replace: bool
) -> cst.Call:
    if not call.args or (isinstance(call.args[-1].comma, cst.Comma) and not replace):
        return call
    last = call.args[-1].with_changes(comma=comma)
    return call.with_changes(args=[*call.args[:-1], last])


def _with_imports(module: cst.Module, before: cst.Module, pattern: cst.Module) -> cst.Module:
    """Import the names that the new arguments need, and drop imports that only the old arguments needed."""
    source = _job_import(module)
    wanted = _job_import(pattern)
    if source is None or wanted is None or isinstance(source.names, cst.ImportStar):
        return module
    used, used_before = _used_names(module), _used_names(before)
    have = {alias.evaluated_name for alias in source.names}
    offered = {alias.evaluated_name for alias in _aliases(wanted)}
    missing = sorted((offered | {"Alerts", "JobType"}) & used - have - used_before)
    unused = {
        name for name in have & {"Alerts", "JobType"} if name not in used and name in used_before
    }
    if not missing and not unused:
        return module
    changed = _import_of(source, [*missing], unused)
    result = module.deep_replace(source, changed)
    assert isinstance(result, cst.Module)
    return result


def _job_import(module: cst.Module) -> cst.ImportFrom | None:
    """Return the statement that imports `job`."""
    for line in module.body:
        if isinstance(line, cst.SimpleStatementLine):
            for statement in line.body:
                if isinstance(statement, cst.ImportFrom) and _imports_job(statement):
                    return statement
    return None


def _imports_job(statement: cst.ImportFrom) -> bool:
    return any(alias.evaluated_name == "job" for alias in _aliases(statement))


def _aliases(statement: cst.ImportFrom) -> Sequence[cst.ImportAlias]:
    return () if isinstance(statement.names, cst.ImportStar) else statement.names


def _import_of(statement: cst.ImportFrom, missing: list[str], unused: set[str]) -> cst.ImportFrom:
    aliases = [alias for alias in _aliases(statement) if alias.evaluated_name not in unused]
    aliases += [cst.ImportAlias(cst.Name(name)) for name in missing]
    aliases.sort(key=_import_order)
    comma = cst.Comma(whitespace_after=cst.SimpleWhitespace(" "))
    names = [alias.with_changes(comma=comma) for alias in aliases[:-1]]
    return statement.with_changes(
        names=[*names, aliases[-1].with_changes(comma=cst.MaybeSentinel.DEFAULT)],
        lpar=None,
        rpar=None,
    )


def _import_order(alias: cst.ImportAlias) -> tuple[int, str]:
    """Sort constants first, then classes, then the rest, as ruff does."""
    name = alias.evaluated_name
    kind = 0 if name.isupper() else 1 if name[:1].isupper() else 2
    return kind, name


class _Names(cst.CSTVisitor):
    """Collects every name used outside of imports."""

    def __init__(self) -> None:
        self.found: set[str] = set()

    def visit_Import(self, node: cst.Import) -> bool:  # noqa: N802, ARG002 - libcst's name
        return False

    def visit_ImportFrom(self, node: cst.ImportFrom) -> bool:  # noqa: N802, ARG002 - libcst's name
        return False

    def visit_Name(self, node: cst.Name) -> None:  # noqa: N802 - libcst's name
        self.found.add(node.value)


def _used_names(module: cst.Module) -> set[str]:
    names = _Names()
    module.visit(names)
    return names.found
