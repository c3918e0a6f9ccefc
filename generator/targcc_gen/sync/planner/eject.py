"""Eject: a managed file becomes the person's alone, and says so by losing its header line."""

from __future__ import annotations

import re
from dataclasses import replace

from targcc_gen.sync.folder.disk import OnDisk
from targcc_gen.sync.jobs.left import without_mark
from targcc_gen.sync.lock import LockEntry
from targcc_gen.sync.plan.outcome import Outcome
from targcc_gen.sync.plan.plan import Action, Change

_HEADER = re.compile(rb"^[^\n]*Managed by targcc-gen: [^\n]*\n(?:\r?\n)?", re.MULTILINE)
_HEAD_BYTES = 400


def ejected(entry: LockEntry, disk: OnDisk) -> Outcome:
    """What ejecting the file of `entry` changes."""
    mine = replace(entry, ejected=True, packed=None)
    change = Change(entry.path, Action.KEEP, "ejected", entry.owner, before=disk.raw)
    if disk.raw is None or disk.blocked:
        return Outcome(change, mine)
    after = without_header(disk.raw)
    if after != disk.raw:
        change = replace(change, action=Action.UPDATE, after=after)
    return Outcome(change, mine)


def forgotten(entry: LockEntry, disk: OnDisk) -> Outcome:
    """What making a file that has left the spec the person's changes: nobody speaks of it any more."""
    change = Change(entry.path, Action.KEEP, "yours alone", entry.owner, before=disk.raw)
    if disk.raw is None or disk.text is None or disk.blocked:
        return Outcome(change, None)
    after = without_header(disk.raw)
    if entry.path.endswith(".py"):
        text = without_mark(disk.text)
        after = disk.style.restore(text) if text != disk.text else after
    if after != disk.raw:
        change = replace(change, action=Action.UPDATE, after=after)
    return Outcome(change, None)


def without_header(content: bytes) -> bytes:
    """`content` without the line that says who manages it."""
    found = _HEADER.search(content[:_HEAD_BYTES])
    if found is None or content[: found.start()].count(b"\n") > 1:
        return content
    return content[: found.start()] + content[found.end() :]
