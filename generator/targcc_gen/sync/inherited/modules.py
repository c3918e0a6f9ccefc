"""A merged module of a person's still has every name that it uses."""

from __future__ import annotations

import ast

from targcc_gen.sync.renames.imports import Module


def completed(merged: bytes, mine: bytes) -> bytes | None:
    """The merged module, with the imports that the person's lines need and the generator's have no more use for.

    Returns:
        The text, or None where the person's lines use what the generator does not define there any more.
    """
    try:
        text, before = merged.decode(), Module(mine.decode())
        missing = (_used(text) - _bound(text)) & before.names
    except (SyntaxError, ValueError):
        return None
    if not missing:
        return merged
    if missing - set(before.imports):
        return None
    needed = [before.imports[name].statement for name in sorted(missing)]
    return Module(text).with_imports(needed).encode()


def _used(text: str) -> set[str]:
    return {
        node.id
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    }


def _bound(text: str) -> set[str]:
    """Every name that is bound anywhere in the module; enough to see what is bound nowhere."""
    found = set(Module(text).names)
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name):
                found.add(name)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                found.add(name)
            case ast.ClassDef(name=name):
                found.add(name)
            case ast.alias(name=name, asname=alias):
                found.add(alias or name.partition(".")[0])
            case _:
                pass
    return found
