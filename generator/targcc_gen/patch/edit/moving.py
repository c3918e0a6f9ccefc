"""The scheduler of an app that has it already, at another prefix."""

from __future__ import annotations

import ast

from targcc_gen.patch.app.apps import App, apps_of
from targcc_gen.patch.app.file import AppFile
from targcc_gen.patch.app.source import Replacement, Source
from targcc_gen.patch.edit.unwiring import spliced, unwire
from targcc_gen.patch.edit.wiring import Patched, Wiring, includes, prefix_of, wire


def is_elsewhere(file: AppFile, wiring: Wiring) -> bool:
    """Whether the lines of a file put the scheduler somewhere else than at the prefix that is asked for."""
    calls = list(includes(file, wiring))
    return bool(wiring.prefix) and any(prefix_of(call) != wiring.prefix for call in calls)


def moved(file: AppFile, app: App | None, wiring: Wiring) -> Patched:
    """The file with the scheduler at the prefix of `wiring`.

    A call of `mount` or `with_scheduler` gets another prefix, with all that people wrote in it; the lines of
    `include_router`, which takes none, become those of `mount`.

    Raises:
        InputError: The prefix is computed, or the app cannot be told.
    """
    calls = list(includes(file, wiring))
    taking = [call for call in calls if wiring.hands_app(file, call)]
    if not taking:
        return _wired_anew(file, app, wiring)
    changes = [_with_prefix(file, call, wiring.prefix) for call in taking]
    added = [(one.first + index, line) for one in changes for index, line in enumerate(one.lines)]
    return Patched(file.source.edited(changes), tuple(added))


def _with_prefix(file: AppFile, call: ast.Call, prefix: str) -> Replacement:
    text = f'"{prefix}"'
    named = [one.value for one in call.keywords if one.arg == "prefix"]
    for value in (*named, *call.args[1:2]):
        if not isinstance(value, ast.Constant):
            raise file.error(value, "the prefix is computed here: change it there")
        return spliced(file, file.start(value), file.end(value), text)
    if not call.args:
        raise file.error(call, "the app is handed over by name here: add prefix= to the call")
    place = file.end(call.args[0])
    return spliced(file, place, place, f", {text}")


def _wired_anew(file: AppFile, app: App | None, wiring: Wiring) -> Patched:
    """The file with `mount` instead of `include_router`."""
    if app is None:
        call = next(includes(file, wiring))
        raise file.error(call, f'no app can be told: write mount(app, "{wiring.prefix}") yourself')
    plain = AppFile(Source(file.source.name, unwire(file.source, wiring)), file.classes)
    return wire(plain, apps_of(plain)[apps_of(file).index(app)], wiring)
