"""Blueprints that come from a git repository: how a spec names one, and where the project has its copy.

A copy is fetched by `targcc-gen blueprints fetch` alone, and is committed with the project: everything else reads the copy.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

from targcc_gen.errors import InputError

FETCHED_PATH = ".targcc/blueprints"
"""Below the project's folder: a folder for each source."""

RECORD = "source.json"
"""In such a folder: what was fetched."""

SCHEMES = ("https", "ssh", "file")
PREFIX = "git+"
EXAMPLE = "git+https://git.example.com/team/blueprints@v1.4#folder"

# No part begins with "-", which git or ssh would take for an option, and none has a password or anything that a shell reads.
_NAME = r"[A-Za-z0-9_][A-Za-z0-9._+~-]*"
_PATH = rf"{_NAME}(?:/{_NAME})*"
_REMOTE = rf"(?:https|ssh)://(?:{_NAME}@)?[A-Za-z0-9][A-Za-z0-9.-]*(?::[0-9]{{1,5}})?/~?{_PATH}"
_LOCAL = rf"file:///(?:[A-Za-z]:/)?{_PATH}"
_SOURCE = re.compile(
    rf"git\+(?P<url>{_REMOTE}|{_LOCAL})@(?P<ref>{_PATH})(?:#(?P<folder>{_PATH}))?/?"
)
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_LONGEST = 500
_LARGEST_RECORD = 10_000


@dataclass(frozen=True)
class Upstream:
    """A folder of a git repository at a tag or commit.

    Attributes:
        text: As the spec has it.
        url: The repository.
        ref: The tag or commit.
        folder: The folder in it that has a folder for each blueprint; empty for its top.
    """

    text: str
    url: str
    ref: str
    folder: str = ""

    @classmethod
    def parse(cls, text: str) -> Upstream | None:
        """What `git+https://…@TAG#FOLDER` names; None where it cannot be followed."""
        found = _SOURCE.fullmatch(text)
        if found is None or len(text) > _LONGEST or ".." in text or text.endswith(".lock"):
            return None
        return cls(text, found["url"], found["ref"], found["folder"] or "")

    @property
    def place(self) -> str:
        """The folder of its copy, the same for every tag."""
        name = re.sub(
            r"[^a-z0-9]+", "-", self.url.lower().removesuffix(".git").rpartition("/")[2]
        ).strip("-")
        digest = hashlib.sha256(f"{self.url}#{self.folder}".encode()).hexdigest()
        return f"{FETCHED_PATH}/{name or 'git'}-{digest[:8]}"

    @property
    def pin(self) -> str:
        """Its name in the lock, beside which the commit stands."""
        return f"{PREFIX}{self.url}#{self.folder}"

    @property
    def names_commit(self) -> bool:
        """Whether it says a commit rather than a tag."""
        return is_commit(self.ref)


def is_commit(text: str) -> bool:
    """Whether a text is the whole name of a commit."""
    return _COMMIT.fullmatch(text) is not None


def record(upstream: Upstream, commit: str) -> str:
    """What is written beside a copy."""
    return json.dumps({"source": upstream.text, "commit": commit}, indent=2) + "\n"


def fetched_commit(upstream: Upstream, root: Path) -> str | None:
    """The commit that the project has a copy of; None where it has none of what the spec names.

    Raises:
        InputError: What stands beside the copy is not what was written.
    """
    place = f"{upstream.place}/{RECORD}"
    path = root / place
    if path.is_symlink() or not path.is_file():
        return None
    try:
        with path.open("rb") as file:
            data = json.loads(file.read(_LARGEST_RECORD))
        source, commit = data["source"], data["commit"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(
            f"{place} is not what was written", hint="run: targcc-gen blueprints fetch"
        ) from error
    if source != upstream.text or not isinstance(commit, str) or not is_commit(commit):
        return None
    return commit if not upstream.names_commit or commit == upstream.ref else None


def upstream_problem(text: str) -> tuple[str, str] | None:
    """Why a text of a spec names no folder of a git repository: what is wrong, and what to do."""
    if Upstream.parse(text) is not None:
        return None
    scheme = text.removeprefix(PREFIX).partition("://")[0]
    if scheme not in SCHEMES:
        return "git is asked by https, ssh or file alone", f"for example {EXAMPLE}"
    if "@" not in text.rpartition("/")[2].partition("#")[0]:
        return "it is not said which tag or commit", f"for example {EXAMPLE}"
    return "this is no address of a git repository with a tag or commit", f"for example {EXAMPLE}"
