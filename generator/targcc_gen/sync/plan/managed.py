"""The rule of managed files: merge users' edits with the generator's changes."""

from __future__ import annotations

from targcc_gen.render.tree import TreeFile
from targcc_gen.sync.lock import LockEntry, digest
from targcc_gen.sync.merge import Side, is_binary, lines_of, whole_file, with_markers
from targcc_gen.sync.merge_python import merge_file
from targcc_gen.sync.plan.plan import (
    Action,
    Outcome,
    Situation,
    conflict,
    entry_of,
    is_formatted,
    marked,
    stays,
    written,
)


def managed(situation: Situation, generated: TreeFile, entry: LockEntry) -> Outcome:
    """Merge the generator's changes into the user's version of the file."""
    text, after = situation.disk.text, entry_of(situation, generated)
    if text == generated.content:
        return stays(situation, after, Action.UNCHANGED, "")
    if text is None:
        return conflict(situation, entry, situation.disk.blocked or "", settleable=False)
    if entry.sha256 == after.sha256:
        return stays(situation, after, Action.UNCHANGED, "your edits stand")
    if digest(text) == entry.sha256:
        return written(situation, after, Action.UPDATE, "", generated.content)
    if entry.base is None or is_binary(text) or is_binary(generated.content):
        return whole_outcome(situation, generated, "you and targcc-gen both changed it")
    return merged_outcome(situation, generated, entry, text, entry.base)


def merged_outcome(
    situation: Situation, generated: TreeFile, entry: LockEntry, text: bytes, base: bytes
) -> Outcome:
    """Merge three texts; return a conflict with the collisions where merging fails.

    Args:
        situation: The file.
        generated: The file rendered from the spec.
        entry: The lock's entry.
        text: Text on disk.
        base: The generator's last text.
    """
    merged = merge_file(
        generated.path,
        base,
        text,
        generated.content,
        formats=situation.formats,
        side=situation.side,
    )
    after = entry_of(situation, generated)
    if merged.collisions:
        outcome = conflict(situation, entry, "", merged.collisions)
        if situation.side is not Side.MARKERS:
            return outcome
        return marked(situation, outcome, after, merged.text)
    if merged.text == text:
        return stays(situation, after, Action.UNCHANGED, "it has the change already")
    if problem := broken_python(generated.path, before=text, after=merged.text):
        return whole_outcome(situation, generated, f"merged it would be no valid Python: {problem}")
    if is_formatted(entry, text):
        return written(situation, after, Action.UPDATE, "in your formatting", merged.text)
    action = Action.UPDATE if merged.text == generated.content else Action.MERGE
    return written(situation, after, action, _kept(merged.kept), merged.text)


def _kept(lines: int) -> str:
    if lines == 0:
        return ""
    return "your line kept" if lines == 1 else f"your {lines} lines kept"


def whole_outcome(situation: Situation, generated: TreeFile, reason: str) -> Outcome:
    """Choose between two whole texts: both have no common base, or their merge is not valid."""
    disk, side, after = situation.disk, situation.side, entry_of(situation, generated)
    if side is Side.MINE:
        return stays(situation, after, Action.KEEP, "as you wished")
    if disk.text is None or disk.blocked:
        return conflict(situation, situation.entry, disk.blocked or "", settleable=False)
    if side is Side.GENERATED:
        return written(situation, after, Action.UPDATE, "as you wished", generated.content)
    binary = is_binary(disk.text) or is_binary(generated.content)
    collisions = () if binary else (whole_file(disk.text, generated.content),)
    outcome = conflict(situation, situation.entry, reason, collisions)
    if side is Side.MARKERS and not binary:
        both = with_markers(lines_of(disk.text), lines_of(generated.content))
        return marked(situation, outcome, after, b"".join(both))
    return outcome


def broken_python(path: str, *, before: bytes, after: bytes) -> str | None:
    """Return the syntax error of a merged module, when the user's version had none."""
    if not path.endswith(".py"):
        return None
    import ast

    try:
        ast.parse(after)
    except (SyntaxError, ValueError) as problem:
        try:
            ast.parse(before)
        except (SyntaxError, ValueError):
            return None
        return str(problem)
    return None
