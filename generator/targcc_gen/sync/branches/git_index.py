"""What git keeps of a file in conflict: both versions of it, and the one that they come from."""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from targcc_gen import git

_LARGEST = 64_000_000
_CONFLICTS = range(128)
"""The exit status of `merge-file` counts conflicts."""

_LABEL = re.compile(r"^([<|>]{7}).*$", re.MULTILINE)
_NAMES = {"1": "base", "2": "ours", "3": "theirs"}


@dataclass(frozen=True)
class Stages:
    """The versions of an unfinished merge; None for one in which the file is not, or that git does not have."""

    base: str | None = None
    ours: str | None = None
    theirs: str | None = None

    def made(self, text: str) -> bool:
        """Whether a file with markers is what git made of these, so that nobody has edited it since."""
        versions = (self.ours, self.base, self.theirs)
        if None in versions:
            return False
        with tempfile.TemporaryDirectory(prefix="targcc-gen-") as folder:
            paths = [Path(folder) / str(number) for number in range(3)]
            for path, version in zip(paths, versions, strict=True):
                path.write_bytes((version or "").encode())
            for style in ((), ("--diff3",), ("--zdiff3",)):
                merged = git.work_alone(
                    Path(folder), "merge-file", "-p", *style, *map(str, paths), statuses=_CONFLICTS
                )
                if merged is not None and _plain(merged.decode("utf-8", "replace")) == _plain(text):
                    return True
        return False


def stages_of(root: Path, path: str) -> Stages:
    """The versions of a file of an unfinished merge.

    Args:
        root: The project's folder.
        path: POSIX path below it.
    """
    found: dict[str, str] = {}
    for entry in (git.read(root, "ls-files", "--unmerged", "-z", "--", path) or b"").split(b"\0"):
        facts = entry.partition(b"\t")[0].decode("ascii", "replace").split()
        if len(facts) == 3 and facts[2] in _NAMES:  # noqa: PLR2004 - mode, object, stage
            content = git.read(root, "cat-file", "blob", facts[1])
            if content is not None and len(content) <= _LARGEST:
                found[_NAMES[facts[2]]] = content.decode("utf-8", "replace")
    return Stages(**found)


def _plain(text: str) -> str:
    return _LABEL.sub(r"\1", text.replace("\r\n", "\n"))
