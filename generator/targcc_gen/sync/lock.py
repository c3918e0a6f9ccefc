"""The lock, `.targcc/lock.jsonl`: what the generator last wrote, so that it can tell its own text from people's.

One line of JSON for each file, sorted by path, so that git merges two branches that each added a job. A base is kept compressed,
which leaves searches and editors in peace; bzip2 because its output is the same on every machine, unlike zlib's.
"""

from __future__ import annotations

import base64
import bz2
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from targcc_gen import __version__
from targcc_gen.errors import InputError
from targcc_gen.render.tree import LOCK_PATH, Owner, path_problem

FORMAT = 1
_MAX_BASE = 16_000_000
_MARKERS = ("<<<<<<<", "=======", ">>>>>>>", "|||||||")


@dataclass(frozen=True)
class LockEntry:
    """What the lock knows about one file.

    Attributes:
        path: POSIX path below the project's folder.
        owner: Who edits it.
        sha256: Of the text as the generator made it, before anybody's edits.
        packed: That text, compressed, of every file that is text; release 0.1 kept that of managed files and jobs only.
        ejected: Whether the file was managed and is now the person's alone.
    """

    path: str
    owner: Owner
    sha256: str
    packed: str | None = None
    ejected: bool = False

    @classmethod
    def of(cls, path: str, owner: Owner, content: bytes, *, keep_base: bool) -> LockEntry:
        """An entry for `content` as the generator made it."""
        packed = base64.b85encode(bz2.compress(content, 1)).decode() if keep_base else None
        return cls(path, owner, digest(content), packed)

    @cached_property
    def base(self) -> bytes | None:
        """The text as the generator made it; None where merging does not need it.

        Raises:
            InputError: It is not what was written.
        """
        if self.packed is None:
            return None
        try:
            packed = base64.b85decode(self.packed)
            base = bz2.BZ2Decompressor().decompress(packed, max_length=_MAX_BASE)
        except (ValueError, OSError, EOFError) as error:
            raise _damaged(f" {self.path}", "its base cannot be unpacked") from error
        if digest(base) != self.sha256:
            raise _damaged(f" {self.path}", "its base does not match its checksum")
        return base

    def to_line(self) -> str:
        """The entry as a line of the lock."""
        data: dict[str, Any] = {"path": self.path, "owner": self.owner.value, "sha256": self.sha256}
        if self.ejected:
            data["ejected"] = True
        if self.packed is not None:
            data["base"] = self.packed
        return json.dumps(data, ensure_ascii=False)


@dataclass(frozen=True)
class Lock:
    """The whole lock. An empty one is that of a folder that is no project yet.

    Attributes:
        entries: By path.
        generator: The version that last brought the whole project up to date; empty for the lock of a new project.
    """

    entries: Mapping[str, LockEntry] = field(default_factory=dict)
    generator: str = ""

    @classmethod
    def load(cls, root: Path) -> Lock:
        """The lock of the project in `root`, or an empty one where there is none.

        Raises:
            InputError: It is damaged, or a newer generator wrote it.
        """
        try:
            text = (root / LOCK_PATH).read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError):
            return cls()
        except (OSError, UnicodeDecodeError) as error:
            raise _damaged(1, f"it cannot be read: {error}") from error
        return cls.parse(text)

    @classmethod
    def parse(cls, text: str) -> Lock:
        """Read what `dump` wrote; the text is not trusted.

        Raises:
            InputError: A line is not one of a lock, or a newer generator wrote it.
        """
        generator = ""
        entries: dict[str, LockEntry] = {}
        for number, line in enumerate(text.splitlines(), start=1):
            if line.startswith(_MARKERS):
                raise _damaged(number, "git left conflict markers in it", _AFTER_GIT)
            if not line.strip():
                continue
            data = _object(number, line)
            if "targcc_lock" in data:
                generator = _newest(generator, _header(number, data))
            else:
                # After a merge of two branches by union, a path may stand there twice: the last one counts.
                entry = _entry(number, data)
                entries[entry.path] = entry
        if not generator:
            raise _damaged(1, "its first line is missing")
        return cls(entries, generator)

    def dump(self) -> str:
        """The text of the lock file; one that no generator wrote yet names this one."""
        header = json.dumps({"targcc_lock": FORMAT, "generator": self.generator or __version__})
        lines = [self.entries[path].to_line() for path in sorted(self.entries)]
        return "\n".join([header, *lines]) + "\n"


_RESTORE = f"take it back from version control: git checkout {LOCK_PATH}"
_AFTER_GIT = "keep every line of both sides and remove the markers, then run: targcc-gen regenerate"


def digest(content: bytes) -> str:
    """The SHA-256 of `content` in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def _damaged(where: int | str, problem: str, hint: str = _RESTORE) -> InputError:
    return InputError(f"{LOCK_PATH}:{where}: the lock is damaged: {problem}", hint=hint)


def _object(number: int, line: str) -> dict[str, Any]:
    try:
        data = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise _damaged(number, "this line is not JSON") from error
    if not isinstance(data, dict):
        raise _damaged(number, "this line is not a JSON object")
    return data


def _header(number: int, data: dict[str, Any]) -> str:
    generator = data.get("generator")
    if not isinstance(generator, str) or not generator:
        raise _damaged(number, "it does not say which generator wrote it")
    if data["targcc_lock"] != FORMAT or _numbers(generator) > _numbers(__version__):
        raise InputError(
            f"{LOCK_PATH}: targcc-gen {generator} wrote this project, and this is the older {__version__}",
            hint=f"upgrade: uv tool install 'targcc-gen>={generator}'",
        )
    return generator


def is_older(one: str, other: str) -> bool:
    """Whether a version of the generator came before another one; the empty one of a new project did not."""
    return bool(one) and _numbers(one) < _numbers(other)


def _newest(one: str, other: str) -> str:
    return max(one, other, key=_numbers)


def _numbers(version: str) -> tuple[int, ...]:
    """`0.12.1` as (0, 12, 1); anything after the numbers does not count."""
    numbers: list[int] = []
    for part in version.split("."):
        if not part.isdecimal():
            break
        numbers.append(int(part))
    return tuple(numbers)


def _entry(number: int, data: dict[str, Any]) -> LockEntry:
    path, owner, sha256 = data.get("path"), data.get("owner"), data.get("sha256")
    if not (isinstance(path, str) and isinstance(sha256, str) and isinstance(owner, str)):
        raise _damaged(number, "a file needs path, owner and sha256")
    if problem := path_problem(path):
        raise _damaged(number, f"{path!r} {problem}")
    if owner not in set(Owner):
        raise _damaged(number, f"there is no owner {owner!r}")
    ejected = data.get("ejected", False)
    if not isinstance(ejected, bool):
        raise _damaged(number, "ejected is true or false")
    base = data.get("base")
    if base is not None and not isinstance(base, str):
        raise _damaged(number, "a base is text")
    return LockEntry(path, Owner(owner), sha256, base, ejected)
