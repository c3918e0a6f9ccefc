"""Apply a prepared patch, try the patched app, and roll back after a failed trial."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from targcc_gen.dependencies.dependency import app_dependencies
from targcc_gen.errors import NoProjectError, TrialError
from targcc_gen.patch import rollback
from targcc_gen.patch.app_file import RefusalError
from targcc_gen.patch.detect import entry_by_name, package_of
from targcc_gen.patch.prepare import Prepared, install_lines, program_of, wrapped_lines
from targcc_gen.patch.rollback import roll_back, stopped_by_signals
from targcc_gen.patch.server_settings import Entry
from targcc_gen.patch.verify import Outcome, Trial, missing, project_python
from targcc_gen.sync import apply

_PREFIXES = ("/jobs", "/ops/jobs", "/scheduler", "/targcc")


def carry_out(prepared: Prepared, *, verify: bool) -> Outcome | None:
    """Write the patch; with `verify`, start the patched app and wait for a job to run.

    Args:
        prepared: The patch.
        verify: Whether to try the patched app.

    Returns:
        The outcome of the trial; `None` without a trial.

    Raises:
        RefusalError: No line can be added, or no line would start the scheduler. Everything else is in place.
        InputError: The app does not work with the scheduler. The patch is rolled back.
    """
    if prepared.refusal is not None:
        apply(prepared.plan_without_lines)
        raise prepared.refusal
    with stopped_by_signals():
        if not verify:
            apply(prepared.plan)
            return None
        return _tried(prepared)


def _tried(prepared: Prepared) -> Outcome:
    """Apply and try the patch; roll back on any exception."""
    root, trial = prepared.target.root, _trial(prepared)
    # A moved scheduler is recognised by its own routes, so no comparison with the routes before is needed.
    before = None if isinstance(trial, Outcome) or prepared.moves else trial.before()
    rollback.mark(root)
    try:
        apply(prepared.plan)
    except BaseException:
        rollback.unmark(root)
        raise
    try:
        outcome = trial if isinstance(trial, Outcome) else _run(trial, before or {})
    except BaseException:
        _take_back(prepared)
        raise
    if outcome.kind == "untried":
        return outcome  # the mark stays: the next patch repeats the trial
    if outcome.is_verified:
        rollback.unmark(root)
        return outcome
    _take_back(prepared)
    if (
        outcome.kind == "refused"
        and not prepared.moves
        and (other := _wrapped(prepared, outcome, before))
    ):
        return other
    if outcome.kind == "refused":
        apply(prepared.plan_without_lines)
        if prepared.moves and isinstance(trial, Trial):
            before = trial.before()
        raise RefusalError(outcome.text, hint=_otherwise(prepared, outcome, before))
    assert isinstance(trial, Trial)
    if alone := trial.starts_without():
        rollback.mark(root)
        apply(prepared.plan)
        return _starts_neither(outcome.looked, alone)
    raise TrialError(
        f"{outcome.text}\nEverything is as it was before.",
        hint=outcome.hint or "Once that works, run this again.",
    )


def _wrapped(prepared: Prepared, outcome: Outcome, before: dict[str, Any] | None) -> Outcome | None:
    """Try `with_scheduler` around the object that the server loads, in place of the refused lines.

    Returns:
        The outcome, with the added lines; `None`, and the project as before, when these lines do not work either.
    """
    if outcome.taken or outcome.mounted or prepared.wiring.wraps:
        return None
    lines = wrapped_lines(prepared.target, prepared.app, prepared.wiring, free_prefix(before))
    if lines is None:
        return None
    target, wiring, patched = lines
    other = replace(prepared, target=target, wiring=wiring, patched=patched, app=None)
    trial = _trial(other)
    if isinstance(trial, Outcome):
        return None
    rollback.mark(target.root)
    try:
        apply(other.plan)
        result = trial.run(before)
    except BaseException:
        _take_back(other)
        raise
    if result.kind not in {"verified", "untried"}:
        _take_back(other)
        return None
    if result.is_verified:
        rollback.unmark(target.root)
    added = tuple(f"{target.relative}:{number}  {text.strip()}" for number, text in patched.added)
    return replace(
        result, lines=(f"{outcome.text}; these lines in place of the lines above:", *added)
    )


def _take_back(prepared: Prepared) -> None:
    roll_back(prepared.plan)
    rollback.unmark(prepared.target.root)


def _run(trial: Trial, before: dict[str, Any]) -> Outcome:
    if "error" in before:
        text = f"{trial.entry.shown} cannot be loaded without the scheduler either\n  {_message(before['error'])}"
        hint = "Once it can: targcc-gen patch --verify"
        return Outcome("untried", trial.entry.shown, text, hint)
    return trial.run(before)


_RAISED = re.compile(r"[A-Za-z_][\w.]*(?:Error|Exception|Exit|Interrupt|Warning)\b")
_MESSAGE_LINES = 8
_LINK = "For further information visit"  # pydantic's, below each value


def _message(text: str) -> str:
    """Return the message of the exception that ends a traceback, such as the settings that pydantic misses."""
    lines = [line for line in text.splitlines() if _LINK not in line]
    first = max((i for i, line in enumerate(lines) if _RAISED.match(line)), default=-1)
    return "\n  ".join(lines[first:][:_MESSAGE_LINES])


def _trial(prepared: Prepared) -> Trial | Outcome:
    """Return the trial of the app, or an outcome with the reason against a trial."""
    target, package, entry = prepared.target, prepared.package, prepared.entry
    python = project_python(target.root)
    lacking = missing(
        python,
        target.layout,
        [dependency.pinned for dependency in app_dependencies(package.spec)],
    )
    if lacking:
        steps = "\n".join([*install_lines(prepared), "targcc-gen patch --verify"])
        return Outcome("untried", "", f"{python} lacks {', '.join(lacking)}", steps)
    if isinstance(entry, str):
        hint = "Name what the server loads: targcc-gen patch --verify --app module:name"
        return Outcome("untried", "", entry, hint)
    if entry.wsgi:
        return Outcome(
            "refused", entry.shown, f"its server speaks WSGI ({entry.where}), which has no lifespan"
        )
    return Trial(python, target.layout, entry, package.router_module, (package.source,))


def _otherwise(prepared: Prepared, outcome: Outcome, before: dict[str, Any] | None) -> str:
    """Return the hint of a refusal: a free prefix, or lines to add by hand."""
    if outcome.taken:
        rest = (
            "The scheduler is where it was." if prepared.moves else "Everything else is in place."
        )
        free = free_prefix(before, outcome.taken)
        return f"{rest} A prefix that is free: targcc-gen patch --prefix {free}"
    return _by_hand(prepared, outcome, before)


def _by_hand(prepared: Prepared, outcome: Outcome, before: dict[str, Any] | None) -> str:
    """Return the lines to add to the file that the server loads, or the commands to run beside the server."""
    entry = prepared.entry
    program = program_of(prepared.package)
    if isinstance(entry, Entry) and (entry.wsgi or entry.lifespan == "off"):
        return (
            f"{entry.where} starts the server so that nothing in the app can run jobs. Start the server with its lifespan on"
            f"\nor run beside it, on the same database:\n\n    {program} serve      # jobs and pages\n    {program} worker     # jobs alone"
        )
    if outcome.mounted:
        return "Name the app that mounts it: targcc-gen patch --app module:name"
    free = free_prefix(before)
    target, name = prepared.target, prepared.app.target if prepared.app else "app"
    if isinstance(entry, Entry) and entry.module and "." not in entry.name and not entry.factory:
        path = target.follower.file_of(entry) if target.follower else None
        file = target.follower.file(path) if target.follower and path else target.file
        package = package_of(entry, path) if path else target.layout.package
        lines = replace(prepared.wiring, package=package).lines(file)
        return lines.wrap(entry.name, len(file.source.lines), free)
    return prepared.wiring.lines(target.file).wrap(name or "app", None, free)


def free_prefix(before: dict[str, Any] | None, taken: str = "") -> str:
    """Return the first usual prefix that neither `taken` nor a route of the app begins with."""
    paths = [taken, *(str(route[1]) for route in (before or {}).get("routes") or ())]
    free = (
        prefix
        for prefix in _PREFIXES
        if not any(path == prefix or path.startswith(f"{prefix}/") for path in paths)
    )
    return next(free, _PREFIXES[-1])


def try_again(prepared: Prepared) -> Outcome:
    """Repeat the trial of an untried patch; after a failure, remove the scheduler from the app.

    Raises:
        InputError: The app does not work with the scheduler. The scheduler has been removed.
    """
    root = prepared.target.root
    with stopped_by_signals():
        trial = _trial(prepared)
        outcome = trial if isinstance(trial, Outcome) else trial.run(None)
        if outcome.is_verified:
            rollback.unmark(root)
        if outcome.kind in {"verified", "untried"}:
            return outcome
        if alone := _taken_out(prepared, trial):
            return _starts_neither(outcome.looked, alone)
    raise TrialError(
        f"{outcome.text}\nThe scheduler is out of the app again.",
        hint=_by_hand(prepared, outcome, None),
    )


def _taken_out(prepared: Prepared, trial: Trial | Outcome) -> str:
    """Remove the scheduler; if the app does not start without the scheduler either, put it back.

    Returns:
        The error of the app without the scheduler; empty when the scheduler was removed.
    """
    from targcc_gen.patch.undo import finish_undo, prepare_undo

    undone = prepare_undo(prepared.target)
    apply(undone.plan)
    alone = trial.starts_without() if isinstance(trial, Trial) else ""
    if alone:
        roll_back(undone.plan)
    else:
        finish_undo(undone)
    return alone


def _starts_neither(looked: str, alone: str) -> Outcome:
    text = f"{looked} does not start without the scheduler either\n  {_message(alone)}"
    return Outcome("untried", looked, text, "Once it starts: targcc-gen patch --verify")


def verify_by_hand(prepared: Prepared, app_name: str | None) -> Outcome:
    """Try the app with its present lines, from a patch or by hand. Changes no file of the app.

    Raises:
        InputError: The app does not work with the scheduler, or the project has no scheduler.
    """
    if prepared.package.is_new:
        raise NoProjectError(
            "the project has no scheduler yet", hint="targcc-gen patch puts it in."
        )
    entry = entry_by_name(prepared.target, app_name)
    named = replace(prepared, target=replace(prepared.target, entry=entry))
    trial = _trial(named)
    outcome = trial if isinstance(trial, Outcome) else trial.run(None)
    if outcome.is_verified:
        rollback.unmark(prepared.target.root)
    if outcome.kind in {"verified", "untried"}:
        return outcome
    before = trial.before() if isinstance(trial, Trial) else None
    raise TrialError(outcome.text, hint=_otherwise(named, outcome, before))
