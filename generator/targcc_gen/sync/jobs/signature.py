"""Merge the spec's `params` into a job's `execute` with libcst, as far as the body allows."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import libcst as cst

from targcc_gen.render.blueprints import broken_signature, own_parameters
from targcc_gen.render.python_source import with_head
from targcc_gen.sync.jobs.arguments import constant_name
from targcc_gen.sync.merge import Collision

Declared = dict[str, tuple[str, str]]
"""Type and default of each argument, as source; an empty default means none."""


@dataclass(frozen=True)
class Signed:
    """The result of updating a signature.

    Attributes:
        text: The file with the spec's arguments, updated as far as possible.
        collisions: Lines that a user has to change.
    """

    text: bytes
    collisions: tuple[Collision, ...] = ()


def sync_signature(existing: bytes, base: bytes, generated: bytes, package: str) -> Signed:
    """Update the arguments of `execute` in the user's file to the spec.

    Args:
        existing: The user's file, with `\\n` line ends.
        base: The generator's last text of the file.
        generated: The generator's new text of the file.
        package: The project's import name.
    """
    was, wanted = _declared(base), _declared(generated)
    try:
        now, place = _declared(existing), _execute(ast.parse(existing))
    except (LookupError, SyntaxError, ValueError):
        line = "execute(…) cannot be read\n"
        return Signed(existing, (Collision(1, 1, line, _signature(wanted)),))
    assert was is not None
    gone = [name for name in was if name not in wanted and name in now]
    different = {
        name: declared
        for name, declared in wanted.items()
        if was.get(name) != declared and now.get(name) != declared
    }
    collisions = [*_uses(existing, place, gone)]
    for name, declared in different.items():
        if name in now and now[name] != was.get(name):
            shown = (_argument(name, now[name]), _argument(name, declared))
            collisions.append(Collision(place.lineno, place.lineno, *shown))
    text = _edited(existing.decode(), different, gone)
    text = _with_head(text, existing.decode(), generated.decode(), different, package)
    text = _with_constants(text, base, generated)
    return Signed(broken_signature(text).encode(), tuple(collisions))


def restored(existing: bytes, generated: bytes, names: Iterable[str], package: str) -> bytes:
    """Reset some arguments, or the procedure, in the user's file to the spec.

    Args:
        existing: The user's file, with `\\n` line ends.
        generated: The file rendered from the spec.
        names: Names of the arguments; `PROCEDURE` for the procedure.
        package: The project's import name.
    """
    declared = _declared(generated)
    wanted = {name: declared[name] for name in names if name in declared}
    before, pattern = existing.decode(), generated.decode()
    text = _with_head(_edited(before, wanted, ()), before, pattern, wanted, package)
    constants = {f"DEFAULT_{name.upper()}" for name in wanted} | {"PROCEDURE"} & set(names)
    lines = text.split("\n")
    for node in reversed(ast.parse(text).body):
        if isinstance(node, ast.Assign) and constant_name(node.targets[0]) in constants:
            name = constant_name(node.targets[0])
            if name in _constants(pattern):
                lines[node.lineno - 1 : node.end_lineno] = [f"{name} = {_source_of(name, pattern)}"]
    return broken_signature("\n".join(lines)).encode()


def _declared(text: bytes) -> Declared:
    return {
        argument.arg: (
            "" if argument.annotation is None else ast.unparse(argument.annotation),
            "" if default is None else ast.unparse(default),
        )
        for argument, default in own_parameters(text.decode())
    }


def _execute(module: ast.Module) -> ast.FunctionDef | ast.AsyncFunctionDef:
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == "execute":
            return node
    raise LookupError("execute")


def _uses(
    existing: bytes, execute: ast.FunctionDef | ast.AsyncFunctionDef, gone: Iterable[str]
) -> Iterator[Collision]:
    """Yield a collision for each line of the body that uses an argument removed from the spec."""
    lines = existing.decode().splitlines()
    names = set(gone)
    result: dict[int, set[str]] = {}
    for statement in execute.body:
        for node in ast.walk(statement):
            if isinstance(node, ast.Name) and node.id in names:
                result.setdefault(node.lineno, set()).add(node.id)
    for line, used in sorted(result.items()):
        words = f"the spec has no {', '.join(sorted(used))} any more\n"
        yield Collision(line, line, f"{lines[line - 1].strip()}\n", words)


def _argument(name: str, declaration: tuple[str, str]) -> str:
    kind, default = declaration
    return f"{name}{f': {kind}' if kind else ''}{f' = {default}' if default else ''}"


def _signature(declared: Declared) -> str:
    return ", ".join(_argument(name, declaration) for name, declaration in declared.items()) + "\n"


class _Editor(cst.CSTTransformer):
    """Changes the parameters of `execute`."""

    def __init__(self, wanted: Mapping[str, tuple[str, str]], gone: Iterable[str]) -> None:
        self.wanted = dict(wanted)
        self.gone = set(gone)

    def leave_FunctionDef(  # noqa: N802 - libcst's name
        self, original_node: cst.FunctionDef, updated_node: cst.FunctionDef
    ) -> cst.FunctionDef:
        if original_node.name.value != "execute":
            return updated_node
        params = updated_node.params
        places = [*params.posonly_params, *params.params, *params.kwonly_params]
        have = {place.name.value for place in places}
        new = [
            _param(name, declaration)
            for name, declaration in self.wanted.items()
            if name not in have
        ]
        named = [*self._changed(params.kwonly_params), *new]
        star = params.star_arg
        if named and not isinstance(star, cst.Param):
            star = cst.ParamStar()
        if not named and isinstance(star, cst.ParamStar):
            star = cst.MaybeSentinel.DEFAULT
        plain = self._changed(params.params)
        follows = named or isinstance(star, cst.Param) or params.star_kwarg is not None
        if plain and params.kwonly_params and not follows:  # a comma stood before the star
            plain[-1] = plain[-1].with_changes(comma=cst.MaybeSentinel.DEFAULT)
        changed = params.with_changes(params=plain, kwonly_params=named, star_arg=star)
        return updated_node.with_changes(params=changed)

    def _changed(self, params: Iterable[cst.Param]) -> list[cst.Param]:
        kept = [item for item in params if item.name.value not in self.gone]
        return [
            (
                _param(item.name.value, self.wanted[item.name.value])
                if item.name.value in self.wanted
                else item
            )
            for item in kept
        ]


def _param(name: str, declaration: tuple[str, str]) -> cst.Param:
    function = cst.parse_module(f"def f(*, {_argument(name, declaration)}): ...\n").body[0]
    assert isinstance(function, cst.FunctionDef)  # the source above is a function
    return function.params.kwonly_params[0]


def _edited(existing: str, wanted: Mapping[str, tuple[str, str]], gone: Iterable[str]) -> str:
    module = cst.parse_module(existing).visit(_Editor(wanted, gone))
    return module.code


def _with_head(
    text: str, existing: str, generated: str, different: Mapping[str, tuple[str, str]], package: str
) -> str:
    """Import the names that the new types need, and define the constants of the new defaults."""
    used = {
        node.id
        for declaration in different.values()
        for source in filter(None, declaration)
        for node in ast.walk(ast.parse(source, mode="eval"))
        if isinstance(node, ast.Name)
    }
    pattern, have = ast.parse(generated), _top_names(ast.parse(existing))
    constants = {
        name: ast.unparse(node)
        for node in pattern.body
        if isinstance(node, ast.Assign) and (name := constant_name(node.targets[0])) in used - have
    }
    for line in constants.values():
        used |= {node.id for node in ast.walk(ast.parse(line)) if isinstance(node, ast.Name)}
    needed = [
        (node.module or "", alias.name)
        for node in pattern.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.name in used - have
    ]
    if not needed and not constants:
        return text
    if not _has_comments(text):
        return with_head(text, package, needed, constants.values())
    lines = [f"from {module} import {name}" for module, name in needed]
    return _after_imports(text, [*lines, *constants.values()])


def _top_names(module: ast.Module) -> set[str]:
    result = set()
    for node in module.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            result |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Assign):
            result |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return result


def _has_comments(text: str) -> bool:
    """Return whether comments stand among the imports; rewriting the imports would lose the comments."""
    imports = [
        node for node in ast.parse(text).body if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    if not imports:
        return False
    lines = text.splitlines()[imports[0].lineno - 1 : imports[-1].end_lineno]
    return any("#" in line for line in lines)


def _after_imports(text: str, added: list[str]) -> str:
    imports = [
        node for node in ast.parse(text).body if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    lines = text.split("\n")
    end = imports[-1].end_lineno or 0
    return "\n".join([*lines[:end], *added, *lines[end:]])


def _with_constants(text: str, base: bytes, generated: bytes) -> str:
    """Update the spec's constants that the user has not changed."""
    was, wanted = _constants(base.decode()), _constants(generated.decode())
    lines = text.split("\n")
    for node in reversed(ast.parse(text).body):
        if not isinstance(node, ast.Assign) or node.lineno != node.end_lineno:
            continue
        name = constant_name(node.targets[0])
        if name in wanted and name in was and ast.unparse(node.value) == was[name] != wanted[name]:
            lines[node.lineno - 1] = f"{name} = {_source_of(name, generated.decode())}"
    return "\n".join(lines)


def _constants(text: str) -> dict[str, str]:
    return {
        name: ast.unparse(node.value)
        for node in ast.parse(text).body
        if isinstance(node, ast.Assign) and (name := constant_name(node.targets[0]))
    }


def _source_of(name: str, text: str) -> str:
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign) and constant_name(node.targets[0]) == name:
            return ast.get_source_segment(text, node.value) or ast.unparse(node.value)
    raise LookupError(name)
