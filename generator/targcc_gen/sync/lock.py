"""The lock file `.targcc/lock.jsonl`: the generator's last text of each file, to tell that text from a user's edits.

Each file has a line of JSON. The lines are sorted by path, so git merges two branches that each added a job. A base is stored
compressed, so that searches and editors skip the text. The compression is bzip2: unlike zlib, bzip2 writes the same bytes on every machine.
"""

from __future__ import annotations

import base64
import bz2
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from targcc_gen import __version__
from targcc_gen.errors import DamagedError, InputError, NewerProjectError
from targcc_gen.render.tree import LOCK_PATH, Owner, path_problem
from targcc_gen.spec.library import PREFIX
from targcc_gen.sync.disk import Disk

FORMAT = 1
_MAX_LOCK = 64_000_000
_MAX_BASE = 16_000_000
_MAX_UNPACKED = 500_000_000
_LONGEST_NUMBER = 9
_DECORATOR = b"@job"
_MOST_OTHERS = 4
_OWNERS = frozenset(Owner)
_BASE85 = re.compile(r"[!#-&(-+\--Z^-~;-@]*")  # the alphabet of base64.b85encode, unescaped in JSON
_BASE = "|||||||"
_MARKERS = ("<<<<<<<", "=======", ">>>>>>>", _BASE)


@lru_cache(maxsize=4096)  # more than the scheduler has files
def _pack(content: bytes) -> str:
    """Return a base as stored in the lock. Cached: the scheduler's own files are the same in every project."""
    return base64.b85encode(bz2.compress(content, 1)).decode()


class _Unpacked:
    """Count the bytes unpacked from the bases of one lock: a few kilobytes can expand to gigabytes."""

    def __init__(self) -> None:
        self.bytes = 0


@dataclass(frozen=True)
class LockEntry:
    """The lock's record of one file.

    Attributes:
        path: POSIX path below the project's folder.
        owner: Owner of the file, generator or user.
        sha256: Checksum of the generator's text, before any edit.
        packed: The generator's text, compressed; None for binary, patched and ejected files and for `targcc.yaml`. Release 0.1 stored the
            text of managed files and jobs only.
        ejected: Whether the file was managed and now belongs to the user.
        added: Requirements that the generator added to a user's list of requirements.
        others: After a merge of two branches that both changed the file: the entries of the other branch.
    """

    path: str
    owner: Owner
    sha256: str
    packed: str | None = None
    ejected: bool = False
    added: tuple[str, ...] = ()
    others: tuple[LockEntry, ...] = field(default=(), compare=False, repr=False)
    unpacked: _Unpacked = field(default_factory=_Unpacked, compare=False, repr=False)

    @classmethod
    def of(cls, path: str, owner: Owner, content: bytes, *, keep_base: bool) -> LockEntry:
        """Return the entry for `content`, the generator's text."""
        packed = _pack(content) if keep_base else None
        return cls(path, owner, digest(content), packed)

    @cached_property
    def base(self) -> bytes | None:
        """The generator's text, unpacked; None where the entry stores no text.

        Raises:
            InputError: The stored text is damaged.
        """
        if self.packed is None:
            return None
        try:
            packed = base64.b85decode(self.packed)
            base = bz2.BZ2Decompressor().decompress(packed, max_length=_MAX_BASE)
        except (ValueError, OSError, EOFError) as error:
            raise _damaged(f" {self.path}", "its base cannot be unpacked") from error
        self.unpacked.bytes += len(base)
        if self.unpacked.bytes > _MAX_UNPACKED:
            raise _damaged(f" {self.path}", "its bases hold more text than any project has")
        if digest(base) != self.sha256:
            raise _damaged(f" {self.path}", "its base does not match its checksum")
        return base

    def to_lines(self) -> list[str]:
        """Return the lines of the lock for this entry, after the lines of the other branch."""
        return [*(entry.to_line() for entry in self.others), self.to_line()]

    def to_line(self, *, removed: bool = False) -> str:
        """Return the line of the lock for this entry. `removed=True` writes a tombstone."""
        data: dict[str, Any] = {"path": self.path, "owner": self.owner.value, "sha256": self.sha256}
        if removed:
            data["removed"] = True
        if self.ejected:
            data["ejected"] = True
        if self.added:
            data["added"] = list(self.added)
        if self.packed is None:
            return json.dumps(data, ensure_ascii=False)
        base = f'"{self.packed}"' if _BASE85.fullmatch(self.packed) else json.dumps(self.packed)
        return f'{json.dumps(data, ensure_ascii=False)[:-1]}, "base": {base}}}'


@dataclass(frozen=True)
class Lock:
    """The whole lock. A folder that is not a project yet has an empty lock.

    Attributes:
        entries: Entries by path.
        generator: Version that last updated the whole project; empty for the lock of a new project.
        templates: Pins of the team's templates at that update: checksums, and commits for repositories.
        text: Text of the lock file as read; None for a lock that was not read from a file.
        removed: Tombstones: the last entry of each module whose job was removed. A merge may restore such a file from a
            branch that edited the file. The job would then run without an entry in the lock.
    """

    entries: Mapping[str, LockEntry] = field(default_factory=dict)
    generator: str = ""
    templates: Mapping[str, str] = field(default_factory=dict)
    removed: Mapping[str, LockEntry] = field(default_factory=dict, kw_only=True)
    text: str | None = field(default=None, compare=False, repr=False)

    @classmethod
    def load(cls, root: Path) -> Lock:
        """Read the lock of the project in `root`; return an empty lock where there is no file.

        Raises:
            InputError: The lock is damaged, or a newer generator wrote it.
        """
        on_disk = Disk(root).look(LOCK_PATH)
        if on_disk.raw is None:
            if on_disk.blocked:
                raise _damaged(1, on_disk.blocked)
            return cls()
        if len(on_disk.raw) > _MAX_LOCK:
            raise _damaged(1, f"it is larger than {_MAX_LOCK // 1_000_000} MB")
        try:
            text = on_disk.raw.decode()
        except UnicodeDecodeError as error:
            raise _damaged(1, f"it cannot be read: {error}") from error
        lock = replace(cls.parse(text), text=text)
        returned = {
            path: entry
            for path, entry in lock.removed.items()
            if path not in lock.entries and _DECORATOR in (Disk(root).look(path).text or b"")
        }
        return replace(lock, entries={**lock.entries, **returned})

    @classmethod
    def parse(cls, text: str) -> Lock:
        """Parse the output of `dump`. The text is not trusted.

        Raises:
            InputError: A line does not belong to a lock, or a newer generator wrote the lock.
        """
        generator = ""
        entries: dict[str, LockEntry] = {}
        templates: dict[str, str] = {}
        removed: dict[str, LockEntry] = {}
        unpacked = _Unpacked()
        for number, line in _entry_lines(text):
            data = _object(number, line)
            if "targcc_lock" in data:
                generator = cls.newest(generator, _header(number, data))
                continue
            if "template" in data:
                templates |= _template(number, data)
                continue
            # After a merge of two branches a path may have two lines: the last line counts.
            entry = _entry(number, data, unpacked)
            if data.get("removed") is True:
                removed[entry.path] = entry
                continue
            if (twin := entries.get(entry.path)) not in (None, entry):
                others = (*twin.others, replace(twin, others=()))
                entry = replace(entry, others=others[-_MOST_OTHERS:])
            entries[entry.path] = entry
        if not generator:
            raise _damaged(1, "its first line is missing")
        return cls(entries, generator, templates, removed=removed)

    def dump(self) -> str:
        """Return the text of the lock file. A lock without a generator version gets the version of this generator."""
        header = json.dumps({"targcc_lock": FORMAT, "generator": self.generator or __version__})
        lines: list[str] = []
        for path in sorted({*self.entries, *self.removed}):
            if path in self.entries:
                lines += self.entries[path].to_lines()
            else:
                lines.append(self.removed[path].to_line(removed=True))
        pins = [
            json.dumps(
                {"template": name, _pinned_by(name): self.templates[name]}, ensure_ascii=False
            )
            for name in sorted(self.templates)
        ]
        return "\n".join([header, *pins, *lines]) + "\n"

    @staticmethod
    def newest(version: str, other: str) -> str:
        """Return the newer of two generator versions."""
        return max(version, other, key=_numbers)


_RESTORE = f"take it back from version control: git checkout {LOCK_PATH}"


def digest(content: bytes) -> str:
    """Return the SHA-256 of `content` in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def _entry_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield the numbered lines that are not blank. In a git conflict, yield the lines of both sides and skip the base."""
    is_base = False
    for number, line in enumerate(text.splitlines(), start=1):
        if line.startswith(_MARKERS):
            is_base = line.startswith(_BASE)
        elif line.strip() and not is_base:
            yield number, line


def _damaged(where: int | str, problem: str, hint: str = _RESTORE) -> InputError:
    return DamagedError(f"{LOCK_PATH}:{where}: the lock is damaged: {problem}", hint=hint)


def json_object(line: str) -> dict[str, Any]:
    """Parse a line of a JSON Lines file. The line is not trusted.

    Raises:
        ValueError: The line is not JSON, or is not an object; the message says which.
    """
    try:
        data = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError("this line is not JSON") from error
    if not isinstance(data, dict):
        raise ValueError("this line is not a JSON object")  # noqa: TRY004 - one exception says both
    return data


def _object(number: int, line: str) -> dict[str, Any]:
    try:
        return json_object(line)
    except ValueError as error:
        raise _damaged(number, str(error)) from error


def _header(number: int, data: dict[str, Any]) -> str:
    generator = data.get("generator")
    if not isinstance(generator, str) or not generator:
        raise _damaged(number, "it does not say which generator wrote it")
    if data["targcc_lock"] != FORMAT or _numbers(generator) > _numbers(__version__):
        raise NewerProjectError(
            f"{LOCK_PATH}: this project needs targcc-gen {generator} or newer, and this is the older {__version__}",
            hint=(
                f"take a newer one: git pull in your clone of it and uv tool install ., or uv tool install"
                f" targcc_gen-{generator}-py3-none-any.whl,\n"
                f"or from an index that has it: uv tool install 'targcc-gen>={generator}'"
            ),
        )
    return generator


def is_older(version: str, other: str) -> bool:
    """Return whether `version` precedes `other`; False for the empty version of a new project."""
    return bool(version) and _numbers(version) < _numbers(other)


def _numbers(version: str) -> tuple[int, ...]:
    """Return `0.12.1` as (0, 12, 1), ignoring everything after the numbers."""
    numbers: list[int] = []
    for part in version.split("."):
        if not part.isdecimal() or len(part) > _LONGEST_NUMBER:
            break
        numbers.append(int(part))
    return tuple(numbers)


def _template(number: int, data: dict[str, Any]) -> dict[str, str]:
    name = data["template"]
    value = data.get(_pinned_by(name)) if isinstance(name, str) else None
    if not isinstance(value, str):
        raise _damaged(number, "a template needs its name and sha256 or commit")
    return {name: value}


def _pinned_by(name: str) -> str:
    return "commit" if name.startswith(PREFIX) else "sha256"


def _entry(number: int, data: dict[str, Any], unpacked: _Unpacked) -> LockEntry:
    path, owner, sha256 = data.get("path"), data.get("owner"), data.get("sha256")
    if not (isinstance(path, str) and isinstance(sha256, str) and isinstance(owner, str)):
        raise _damaged(number, "a file needs path, owner and sha256")
    if problem := path_problem(path):
        raise _damaged(number, f"{path!r} {problem}")
    if owner not in _OWNERS:
        raise _damaged(number, f"there is no owner {owner!r}")
    ejected = data.get("ejected", False)
    if not isinstance(ejected, bool):
        raise _damaged(number, "ejected is true or false")
    base = data.get("base")
    if base is not None and not isinstance(base, str):
        raise _damaged(number, "a base is text")
    added = _requirements(number, data.get("added", []))
    return LockEntry(path, Owner(owner), sha256, base, ejected, added, unpacked=unpacked)


def _requirements(number: int, added: Any) -> tuple[str, ...]:
    if not added:
        return ()
    from packaging.requirements import Requirement

    try:
        return tuple(added) if all(Requirement(requirement) for requirement in added) else ()
    except (ValueError, TypeError) as error:
        raise _damaged(number, "added is a list of requirements") from error
