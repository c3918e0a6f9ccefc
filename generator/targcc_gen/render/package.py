"""Installed distributions: the files of `targcc_scheduler`, and the origin of a distribution (PEP 610)."""

from __future__ import annotations

import ast
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
"""The folder of the distribution in a vendored project: a POSIX path below the project's folder."""


@cache
def package_files() -> tuple[tuple[str, bytes], ...]:
    """Return the path and the bytes of each file of the installed package, sorted. Lines of text end with `\\n`."""
    root, files = package_folder(), []
    for folder, below, names in os.walk(root):
        below[:] = [name for name in below if name != "__pycache__"]
        files += [Path(folder, name) for name in names]
    return tuple(
        (file.relative_to(root).as_posix(), _plain(file.read_bytes())) for file in sorted(files)
    )


def package_folder() -> Path:
    """Return the folder of the installed package."""
    spec = importlib.util.find_spec(PACKAGE)
    assert spec is not None  # the generator depends on it
    assert spec.origin is not None
    return Path(spec.origin).parent


@cache
def public_names() -> tuple[str, ...]:
    """Return `__all__` of the installed package, which is not imported for that."""
    source = (package_folder() / "__init__.py").read_text(encoding="utf-8")
    return next(
        tuple(ast.literal_eval(node.value))
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    )


def _plain(content: bytes) -> bytes:
    return content if b"\0" in content else content.replace(b"\r\n", b"\n")


# The origin of a distribution: a commit of a git repository, or a file with its hash (PEP 610).
# Projects pin targcc-gen and its scheduler to the origin, so no package index decides the code that a project gets. Installers
# record no origin for a distribution from an index, and a checkout or a local file exists on one machine only. In these cases a
# project carries the wheel of the scheduler in `vendor/`.

_SCHEMES = frozenset({"http", "https", "ssh"})
_GIT = "git+"
_PLAIN = re.compile(
    r"[\w.~:/@%+-]+", re.ASCII
)  # the URL is written into TOML, YAML and shell commands
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Origin:
    """The address of a distribution that every machine can reach.

    Attributes:
        url: The git repository or the file, without its hash.
        commit: The commit, for a git repository.
        folder: The folder of the distribution in a git repository; empty for the root.
        sha256: The hash, for a file.
    """

    url: str
    commit: str = ""
    folder: str = ""
    sha256: str = ""

    @property
    def reference(self) -> str:
        """The text after `@` in a requirement: `git+https://…@commit#subdirectory=…` or `https://…whl#sha256=…`."""
        if not self.commit:
            return f"{self.url}#sha256={self.sha256}"
        return (
            f"git+{self.url}@{self.commit}{f'#subdirectory={self.folder}' if self.folder else ''}"
        )


@cache
def origin_of(distribution: str) -> Origin | None:
    """Return the origin of an installed distribution; None if the origin is unrecorded or another machine cannot reach it.

    Args:
        distribution: The distribution's name.
    """
    try:
        text = metadata.distribution(distribution).read_text("direct_url.json")
    except metadata.PackageNotFoundError:
        return None
    return None if text is None else parsed(text)


def parsed(text: str) -> Origin | None:
    """Parse a `direct_url.json`; return None for a local origin, a file without a hash, or a URL with a password."""
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
