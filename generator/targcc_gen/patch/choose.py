"""Which of a file's apps gets the scheduler: the only one, or the one `--app` names."""

from __future__ import annotations

import ast
from collections.abc import Sequence

from targcc_gen.patch.app.apps import App, apps_of, outer_apps
from targcc_gen.patch.app.file import AppFile
from targcc_gen.patch.app.nodes import code_of, targets_of
from targcc_gen.patch.app.source import RefusalError, SourceError
from targcc_gen.patch.edit.wiring import Wiring
from targcc_gen.patch.served.frameworks import host_in, refusal_of

_NAMES = ("app", "application", "api")


def choose_app(file: AppFile, wanted: str | None, wiring: Wiring, program: str = "targcc") -> App:
    """The app to wire.

    Args:
        file: The file.
        wanted: `app`, `create_app` or `module:app`; `None` takes the only app that no other app mounts.
        wiring: For the lines to add when there is no app to take.
        program: The project's command line.

    Raises:
        InputError: There is none, there are several, or none of that name.
    """
    apps = apps_of(file)
    if not apps:
        raise _none(file, wiring, program)
    if wanted:
        return _named(file, apps, wanted.rpartition(":")[2])
    outer = outer_apps(apps)
    if len(outer) == 1:
        return outer[0]
    names = _names(outer)
    listed = "\n".join(
        f"  {file.source.name}:{app.line}  {name}" for app, name in zip(outer, names, strict=True)
    )
    raise SourceError(
        f"{file.source.name}:{outer[0].line}: error: {len(outer)} FastAPI apps are made here\n{listed}",
        hint=f"Name the one that gets the scheduler: --app {names[0]}",
    )


def _names(apps: Sequence[App]) -> list[str]:
    """A name for each app, longer where two of them have the same: `create_app.internal`."""
    labels = [app.label for app in apps]
    return [
        ".".join(filter(None, (*app.scope, app.target))) if labels.count(label) > 1 else label
        for app, label in zip(apps, labels, strict=True)
    ]


def _named(file: AppFile, apps: Sequence[App], name: str) -> App:
    found = [app for app in apps if app.answers_to(name)]
    if len(found) == 1:
        return found[0]
    listed = ", ".join(f"{app.label} (line {app.line})" for app in apps)
    what = "several FastAPI apps" if found else "no FastAPI app"
    raise SourceError(f"{file.source.name}: error: it makes {what} named {name}; it makes {listed}")


def _none(file: AppFile, wiring: Wiring, program: str) -> SourceError:
    """Why a file has no app to wire: it is another framework's, or made outside of the project, or there is none."""
    if host := host_in(file):
        return refusal_of(file, host, wiring.lines(file), program)
    for node in file.nodes:
        if not isinstance(node, ast.Assign | ast.AnnAssign) or not isinstance(node.value, ast.Call):
            continue
        named = [target for target in targets_of(node) if target in _NAMES]
        for name in file.qualified_names(node.value.func):
            module, _, function = name.rpartition(".")
            if named and module and function.islower() and not file.scope_of(node):
                return RefusalError(
                    f"{file.source.name}:{file.line_of(node)}: error: {named[0]} = {code_of(node.value.func)}()"
                    f" comes from {module}, which is not a file of the project",
                    hint=wiring.lines(file).wrap(named[0], file.last_line_of(node)),
                )
    return SourceError(
        f"{file.source.name}: error: it makes no FastAPI app",
        hint=wiring.lines(file).wrap("app"),
    )
