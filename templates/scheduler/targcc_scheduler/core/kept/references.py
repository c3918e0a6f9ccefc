"""What stands in a run's arguments in place of what is kept apart: content is named by its SHA-256, and found by it within its run.

A file is ``{"$file": "<sha256>", "name": "a.csv", "size": 12, "content_type": "text/csv"}``, an argument that is too large
``{"$large": "<sha256>", "size": 70000}``. Equal content gives equal references, so that equal arguments stay equal.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

REFERENCE = "$file"
LARGE = "$large"


@dataclass(frozen=True, slots=True)
class FileReference:
    """A file that is kept with its run."""

    sha256: str
    name: str
    size: int
    content_type: str

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> FileReference:
        """What stands in the arguments.

        Raises:
            ValueError: it is no reference.
        """
        try:
            return cls(
                str(value[REFERENCE]),
                str(value["name"]),
                int(value["size"]),
                str(value["content_type"]),
            )
        except (KeyError, TypeError):
            raise ValueError("not a reference to a file") from None

    def plain(self) -> dict[str, Any]:
        """As it stands in the arguments."""
        return {
            REFERENCE: self.sha256,
            "name": self.name,
            "size": self.size,
            "content_type": self.content_type,
        }


@dataclass(frozen=True, slots=True)
class Here:
    """What of a run's content is in this process, or in a file of this machine, by SHA-256; all else is not here yet."""

    contents: Mapping[str, Path | bytes] = field(default_factory=dict)

    def find(self, sha256: str) -> Path | bytes | None:
        """Some content, or where it is."""
        return self.contents.get(sha256)


def may_refer(arguments_json: str | None) -> bool:
    """Whether there may be references in arguments; cheap, for each run that is claimed."""
    return arguments_json is not None and (
        f'"{REFERENCE}"' in arguments_json or f'"{LARGE}"' in arguments_json
    )


def is_large(value: object) -> bool:
    """Whether a value of an argument is a reference to a larger one."""
    return isinstance(value, dict) and value.keys() == {LARGE, "size"}


def referred(arguments_json: str | None) -> dict[str, str]:
    """The SHA-256 of all content that arguments refer to, with what it is for people."""
    if arguments_json is None or not may_refer(arguments_json):
        return {}
    found: dict[str, str] = {}
    for name, value in json.loads(arguments_json).items():
        if is_large(value):
            found[str(value[LARGE])] = f"the argument {name}"
        else:
            found |= {
                str(one[REFERENCE]): f"the file {one.get('name')}" for one in references_in(value)
            }
    return found


def references_in(value: object) -> Iterator[dict[str, Any]]:
    """The references to files in a value."""
    if isinstance(value, dict):
        if REFERENCE in value:
            yield value
        else:
            for one in value.values():
                yield from references_in(one)
    elif isinstance(value, list):
        for one in value:
            yield from references_in(one)


def expanded(arguments_json: str, here: Here) -> str:
    """The arguments with those that were too large in their places; files stay references.

    Raises:
        OSError: the content cannot be read.
        ValueError: it is not JSON.
    """
    arguments: dict[str, Any] = json.loads(arguments_json)
    for name, value in arguments.items():
        if is_large(value) and (found := here.find(str(value[LARGE]))) is not None:
            arguments[name] = json.loads(found if isinstance(found, bytes) else found.read_bytes())
    return json.dumps(arguments, ensure_ascii=False)
