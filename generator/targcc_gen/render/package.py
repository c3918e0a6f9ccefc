"""Installed distributions: the files of `targcc_scheduler`, and the origin of a distribution (PEP 610)."""

from __future__ import annotations

import importlib.util
import json
import os
import re
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

# The package `targcc_scheduler`.

DISTRIBUTION = "targcc-scheduler"
PACKAGE = "targcc_scheduler"
SOURCE_TREE = f"vendor/{DISTRIBUTION}"
"""Where a vendored project has the distribution: POSIX path below the project's folder."""


@cache
def package_files() -> tuple[tuple[str, bytes], ...]:
    """The path and the bytes of each file of the installed package, sorted; text ends its lines with `\\n`."""
    root, files = package_folder(), []
    for folder, below, names in os.walk(root):
        below[:] = [name for name in below if name != "__pycache__"]
        files += [Path(folder, name) for name in names]
    return tuple(
        (file.relative_to(root).as_posix(), _plain(file.read_bytes())) for file in sorted(files)
    )


def package_folder() -> Path:
    """Where the installed package is."""
    spec = importlib.util.find_spec(PACKAGE)
    assert spec is not None  # the generator depends on it
    assert spec.origin is not None
    return Path(spec.origin).parent


def _plain(content: bytes) -> bytes:
    return content if b"\0" in content else content.replace(b"\r\n", b"\n")


# The origin of a distribution: a commit of a git repository, or a file with its hash (PEP 610).
# Projects name targcc-gen and its scheduler from there, so that nobody's index decides what they get. Installers record no
# origin for a distribution of an index; a checkout and a local file are places of one machine. For these a project carries
# the wheel of the scheduler in `vendor/`.

_SCHEMES = frozenset({"http", "https", "ssh"})
_GIT = "git+"
_PLAIN = re.compile(
    r"[\w.~:/@%+-]+", re.ASCII
)  # it is written into TOML, YAML and a shell's command
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Origin:
    """A place that every machine can reach.

    Attributes:
        url: The repository or the file, without its hash.
        commit: Of a git repository: the commit.
        folder: Of a git repository: the folder with the distribution; empty for the topmost one.
        sha256: Of a file: its hash.
    """

    url: str
    commit: str = ""
    folder: str = ""
    sha256: str = ""

    @property
    def reference(self) -> str:
        """What a requirement has behind its `@`: `git+https://…@commit#subdirectory=…` or `https://…whl#sha256=…`."""
        if not self.commit:
            return f"{self.url}#sha256={self.sha256}"
        return (
            f"git+{self.url}@{self.commit}{f'#subdirectory={self.folder}' if self.folder else ''}"
        )


@cache
def origin_of(distribution: str) -> Origin | None:
    """Where an installed distribution came from; None where that is no place for another machine, or not recorded.

    Args:
        distribution: Its name.
    """
    try:
        text = metadata.distribution(distribution).read_text("direct_url.json")
    except metadata.PackageNotFoundError:
        return None
    return None if text is None else parsed(text)


def parsed(text: str) -> Origin | None:
    """The origin that a `direct_url.json` names; None for a local place, one without a hash, or one with a password in it."""
    try:
        data = json.loads(text)
        url = str(data["url"])
        place = urlsplit(url)
    except (ValueError, TypeError, KeyError):
        return None
    folder = str(data.get("subdirectory", ""))
    is_reachable = place.scheme in _SCHEMES and not place.password
    is_plain = _PLAIN.fullmatch(url) and _PLAIN.fullmatch(f"{folder}/")
    if not (is_reachable and is_plain) or "@" in url.rpartition("/")[2]:
        return None
    git, file = data.get("vcs_info"), data.get("archive_info")
    if isinstance(git, dict):
        commit = str(git.get("commit_id", ""))
        is_commit = f"{git.get('vcs')}+" == _GIT and _COMMIT.fullmatch(commit)
        return Origin(url, commit=commit, folder=folder) if is_commit else None
    sha256 = _sha256(file) if isinstance(file, dict) and not place.username else ""
    return Origin(url.partition("#")[0], sha256=sha256) if _SHA256.fullmatch(sha256) else None


def _sha256(file: dict[str, Any]) -> str:
    hashes = file.get("hashes")
    if isinstance(hashes, dict) and isinstance(hashes.get("sha256"), str):
        return str(hashes["sha256"])
    return str(file.get("hash", "")).removeprefix("sha256=")
