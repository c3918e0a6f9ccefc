"""What the releases since a project was last brought up to date mean for it: from the changelog, "For existing projects"."""

from __future__ import annotations

import re
from dataclasses import dataclass

import click

from targcc_gen import __version__, assets

_RELEASE = re.compile(r"^## \[([\d.]+)\].*$", re.MULTILINE)
_SECTION = re.compile(r"^### For existing projects\n+(.*?)(?=^###? |\Z)", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Notes:
    """What to know about a step.

    Attributes:
        since: The version that the project is at; empty for one that none has made yet.
        releases: The releases on the way, oldest first, with their text.
    """

    since: str
    releases: tuple[tuple[str, str], ...]

    def show(self) -> None:
        """Print them, if there are any."""
        for version, text in self.releases:
            click.echo(f"\nFrom {self.since} to {version}, for existing projects:\n\n{text}")

    def to_json(self) -> dict[str, object]:
        """The same for a program."""
        return {"for_existing_projects": dict(self.releases)} if self.releases else {}


def notes_since(version: str) -> Notes:
    """What concerns a project that a version of the generator brought up to date last."""
    from targcc_gen.sync.lock import is_older

    found = [
        (release, text)
        for release, text in releases().items()
        if is_older(version, release) and not is_older(__version__, release)
    ]
    return Notes(version, tuple(reversed(found)))


def releases() -> dict[str, str]:
    """The text for existing projects of each release, newest first; empty where the changelog has none."""
    text = assets.changelog().read_text(encoding="utf-8").replace("\r\n", "\n")
    _, *parts = _RELEASE.split(text)
    return {version: _text(part) for version, part in zip(parts[::2], parts[1::2], strict=True)}


def _text(part: str) -> str:
    found = _SECTION.search(part)
    return "" if found is None else found.group(1).strip()
