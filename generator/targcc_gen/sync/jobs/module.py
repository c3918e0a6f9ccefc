"""The rules of a job's module: `@job(…)` and arguments follow the spec; the body is the user's."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from targcc_gen.sync.jobs.arguments import drift, new_shape
from targcc_gen.sync.jobs.decorator_merge import sync_decorator
from targcc_gen.sync.lock import LockEntry, digest
from targcc_gen.sync.merge import Side
from targcc_gen.sync.plan.managed import merged_outcome, whole_outcome
from targcc_gen.sync.plan.plan import (
    Action,
    Outcome,
    Situation,
    conflict,
    entry_of,
    is_formatted,
    rebased,
    stays,
    written,
)

if TYPE_CHECKING:
    from targcc_gen.render.tree import TreeFile
    from targcc_gen.sync.jobs.arguments import Drift
    from targcc_gen.sync.jobs.decorator_merge import Synced


def job_module(
    situation: Situation, generated: TreeFile, entry: LockEntry, text: bytes, base: bytes
) -> Outcome:
    """Return the outcome of a job's module.

    Args:
        situation: The file.
        generated: The file rendered from the spec.
        entry: The lock's entry.
        text: Text on disk.
        base: The generator's last text.
    """
    shape = new_shape(base, generated)
    if shape is None:
        return _decorated(situation, generated, entry, text, base)
    if text == generated.content:
        return stays(situation, entry_of(situation, generated), Action.UNCHANGED, "")
    if digest(text) == entry.sha256:
        reason = f"you had not edited it: {shape.reason}"
        after = entry_of(situation, generated)
        outcome = written(situation, after, Action.UPDATE, reason, generated.content)
        return replace(outcome, reshaped=True)
    if is_formatted(entry, text):
        outcome = merged_outcome(situation, generated, entry, text, base)
        return replace(outcome, reshaped=True)
    if shape.is_other_blueprint:
        return _other_blueprint(situation, generated, shape.reason)
    return _other_arguments(situation, generated, entry, text, base)


def _decorated(
    situation: Situation, generated: TreeFile, entry: LockEntry, text: bytes, base: bytes
) -> Outcome:
    """Update the decorator to the spec; report arguments and a procedure that differ from the spec."""
    facts = generated.job
    assert facts is not None  # the file is a job's module
    drifted = drift(text, base, generated.content, blueprint=facts.blueprint, keep=facts.keep)
    followed, restores = text, bool(drifted.collisions) and situation.side is Side.GENERATED
    if restores:
        from targcc_gen.sync.jobs.signature import restored

        names = [*drifted.names, *(["PROCEDURE"] if drifted.procedure else [])]
        followed = restored(text, generated.content, names, facts.package)
    synced = sync_decorator(
        existing=followed,
        base=base,
        generated=generated.content,
        side=situation.side,
        defaults=facts.defaults,
        keep=facts.keep,
    )
    if synced.problem:
        if situation.side is Side.MINE:
            return stays(situation, rebased(entry, synced.base), Action.KEEP, "as you wished")
        return conflict(situation, entry, synced.problem)
    decides = _decides(situation, entry, facts.key, synced, drifted)
    if decides is not None:
        return decides
    same = digest(generated.content) == entry.sha256
    after = entry_of(situation, generated) if same else rebased(entry, synced.base)
    if synced.is_gone:
        reason = f"it has no @job any more: {facts.key} of targcc.yaml does not run"
        return stays(situation, after, Action.KEEP, reason)
    if synced.text == text:
        return stays(situation, after, Action.UNCHANGED, "")
    changed = [*synced.changed, *(drifted.words if restores else ())]
    reason = f"@job follows the spec: {', '.join(changed)}"
    return written(situation, after, Action.UPDATE, reason, synced.text)


def _decides(
    situation: Situation, entry: LockEntry, key: str, synced: Synced, drifted: Drift
) -> Outcome | None:
    """Return the conflict of a job whose code differs from the spec; None where code and spec agree."""
    if synced.collisions:
        reason = (
            "@job says something else than the spec. --mine takes that into targcc.yaml, as does"
            f" targcc-gen pull {key}; keep: in targcc.yaml says that it is meant so"
        )
        if synced.new_name:
            reason = (
                f"its class was renamed, so that it is {synced.new_name} with no history."
                f" targcc-gen job {key} --rename {synced.new_name} takes all along;"
                f" --generated keeps the name {key} in @job"
            )
        return conflict(situation, entry, reason, (*synced.collisions, *drifted.collisions))
    if (
        drifted.collisions
        and situation.side not in {Side.MINE, Side.GENERATED}
        and not synced.is_gone
    ):
        words = " and ".join(drifted.words)
        reason = (
            f"{words} of {key}: the arguments in the code say something else than the spec. --mine takes that into"
            f" targcc.yaml, as does targcc-gen pull {key}; --generated takes the spec's;"
            f" keep: [{', '.join(drifted.words)}] in targcc.yaml says that it is meant so"
        )
        return conflict(situation, entry, reason, drifted.collisions)
    return None


def _other_blueprint(situation: Situation, generated: TreeFile, reason: str) -> Outcome:
    """Return a conflict, unless a side is chosen: a new blueprint must not overwrite a body that a user wrote."""
    if situation.side is Side.MINE:
        after = entry_of(situation, generated)
        return stays(situation, after, Action.KEEP, "as you wished: your body stays as it is")
    outcome = whole_outcome(situation, generated, f"{reason}, and you wrote in its body")
    return _reshaped(outcome)


def _other_arguments(
    situation: Situation, generated: TreeFile, entry: LockEntry, text: bytes, base: bytes
) -> Outcome:
    """Update the signature of `execute` where the body allows that, then the decorator."""
    from targcc_gen.sync.jobs.signature import sync_signature

    facts = generated.job
    assert facts is not None  # the file is a job's module
    if situation.side is Side.GENERATED:
        outcome = whole_outcome(situation, generated, "")
        return _reshaped(outcome)
    signed = sync_signature(text, base, generated.content, facts.package)
    if signed.collisions and situation.side is not Side.MINE:
        reason = f"the arguments of {facts.key} changed in the spec, and its body needs to follow"
        return conflict(situation, entry, reason, signed.collisions)
    outcome = _decorated(situation, generated, entry, signed.text, base)
    if outcome.change.action is Action.CONFLICT:
        return outcome
    after = entry_of(situation, generated)
    if outcome.change.after is None and signed.text == text:
        return replace(outcome, entry=after)
    if outcome.change.after is None:
        outcome = written(situation, after, Action.UPDATE, "", signed.text)
    words = ["its arguments follow the spec", outcome.change.reason]
    change = replace(outcome.change, reason="; ".join(filter(None, words)))
    return replace(outcome, change=change, entry=after, reshaped=True)


def _reshaped(outcome: Outcome) -> Outcome:
    """Mark the outcome as reshaped and the user's body as dropped, where the user chose the generator's file."""
    chosen = outcome.change.action is Action.UPDATE
    return replace(outcome, reshaped=chosen, drops=chosen)
