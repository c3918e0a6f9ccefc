"""New paths of managed files, release by release: `renames.toml`, for one project.

Releases before 0.2 put the scheduler into the project's package; today the files are in `vendor/`. The table writes both places as
`src/{package}/scheduler/`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

from targcc_gen.render.package import PACKAGE, SOURCE_TREE
from targcc_gen.render.tree import Layout

TABLE = Path(__file__).with_name("renames.toml")
HOME = f"{SOURCE_TREE}/{PACKAGE}/"
"""Folder of the scheduler's package in a vendored project."""


@dataclass(frozen=True)
class Renames:
    """The new paths of moved files.

    Attributes:
        places: New paths by old path: several for a file that was split, none for a file without a successor.
        old_place: The scheduler's folder in the project's package, used before 0.2; empty for no project.
    """

    places: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    old_place: str = ""

    @classmethod
    def load(cls, layout: Layout | None) -> Renames:
        """Load the generator's table for a project with this layout; an empty table for no layout."""
        if layout is None:
            return cls()
        renames = cls(old_place=f"{layout.code}/scheduler/")
        moved: dict[str, tuple[str, ...]] = {}
        for old, places in _rows(TABLE).items():
            path = layout.place(old)
            ends = tuple(renames.home(layout.place(new)) for new in _listed(places))
            moved[path] = ends
            if all(end.startswith(HOME) for end in ends):
                moved[renames.home(path)] = ends
        return replace(renames, places=moved)

    def home(self, path: str) -> str:
        """Map a path in the scheduler's old folder to the same place in `HOME`; return any other path unchanged."""
        if self.old_place and path.startswith(self.old_place):
            return f"{HOME}{path.removeprefix(self.old_place)}"
        return path

    def targets(self, path: str, known: Collection[str]) -> tuple[str, ...] | None:
        """Return the new paths of the text of `path`.

        Args:
            path: Old path.
            known: Today's paths; a place that moved again is followed to one of these paths.

        Returns:
            The paths in the table's order, empty without a successor. None when the table does not know the file, or when the file still
            exists as a file of its own.
        """
        if path not in self.places:
            return self._by_folder(path, known)
        ends = [end for end in self._ends(path) if end in known]
        if path in known and path not in ends:
            return None
        return tuple(ends) if ends or not self.places[path] else None

    def _by_folder(self, path: str, known: Collection[str]) -> tuple[str, ...] | None:
        """Return the new path of a file in the scheduler's old folder that the table does not list; None for any other file."""
        home = self.home(path)
        if home == path or not any(file.startswith(HOME) for file in known):
            return None
        return (home,) if home in known else ()

    def _ends(self, path: str) -> list[str]:
        """Return the final paths reachable from `path`; a path reached again in a cycle is final."""
        ends: dict[str, None] = {}
        passed = {path}
        waiting = list(self.places[path])
        while waiting:
            place = waiting.pop(0)
            if place in self.places and place not in passed:
                passed.add(place)
                waiting[:0] = self.places[place]
            else:
                ends[place] = None
        return list(ends)


@cache
def _rows(table: Path) -> dict[str, object]:
    rows: dict[str, object] = tomllib.loads(table.read_text(encoding="utf-8"))["moved"]
    return rows


def _listed(places: object) -> list[str]:
    if isinstance(places, str):
        return [places]
    assert isinstance(places, list)  # a test checks the whole table
    return [str(place) for place in places]


def has_old_place(paths: Collection[str], layout: Layout | None) -> bool:
    """Return whether the scheduler's files are in the project's package, as in releases before 0.2.

    Args:
        paths: Paths in the lock.
        layout: Layout of the project's code, or None.
    """
    return layout is not None and any(
        path.startswith(f"{layout.code}/scheduler/") for path in paths
    )


def is_moving(before: Collection[str], after: Collection[str]) -> bool:
    """Return whether the scheduler's source moves from the project's package to `vendor/`.

    Args:
        before: Paths in the lock before the run.
        after: Paths in the lock after the run.
    """
    had, has = (any(path.startswith(HOME) for path in paths) for paths in (before, after))
    return has and not had and any("/scheduler/" in path for path in before)
