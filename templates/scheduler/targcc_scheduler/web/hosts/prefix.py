"""The scheduler's pages below one prefix of a host, wherever the host itself is: behind a proxy, mounted, included with a prefix."""

from __future__ import annotations

from typing import Any

Scope = Any
"""An ASGI scope: a mutable mapping."""


def path_within(scope: Scope) -> str:
    """The path of a request below the place where the host is, as its own routes see it."""
    path, root = str(scope["path"]), str(scope.get("root_path", ""))
    return path.removeprefix(root) if path == root or path.startswith(f"{root}/") else path


def is_below(path: str, prefix: str) -> bool:
    """Whether a path is the prefix or below it."""
    return path == prefix or path.startswith(f"{prefix}/")


def scope_below(scope: Scope, prefix: str) -> Scope:
    """The scope for an app whose routes begin with ``prefix``: what the host has before it becomes part of ``root_path``.

    Args:
        scope: The host's; where a route of it matched, its parameter ``path`` is what follows the prefix.
        prefix: Such as ``/jobs``; the path may have more before it, as when the host includes the router with a prefix.
    """
    path, root = path_within(scope), str(scope.get("root_path", "")).rstrip("/")
    matched = scope.get("path_params")
    if matched is not None:
        base = path[: len(path) - len(matched.get("path", ""))].rstrip("/")
        before = base.removesuffix(prefix)
        root, path = root + before, path[len(before) :]
    return {**scope, "root_path": root, "path": root + path, "path_params": {}}
