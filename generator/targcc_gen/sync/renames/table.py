"""Where managed files went, release by release: `renames.toml`, for one project.

Releases before 0.2 put the scheduler into the project's package. Its files are in `vendor/` now, whatever else moved: the table
writes both places as `src/{package}/scheduler/`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from targcc_gen.render.package import PACKAGE, SOURCE_TREE
from targcc_gen.render.tree import Layout

TABLE = Path(__file__).with_name("renames.toml")
HOME = f"{SOURCE_TREE}/{PACKAGE}/"
"""The folder of the scheduler's package in a vendored project."""


@dataclass(frozen=True)
class Renames:
    """Where each file that moved is now.

    Attributes:
        places: The new paths by the old one: several for a file that was split, none for one that has no successor.
        old_place: The folder in the project's package in which the scheduler was; empty for no project.
    """

    places: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    old_place: str = ""

    @classmethod
    def load(cls, layout: Layout | None) -> Renames:
        """The generator's table for a project with this layout; an empty one for no layout."""
        if layout is None:
            return cls()
        rows = tomllib.loads(TABLE.read_text(encoding="utf-8"))["moved"]
        renames = cls(old_place=f"{layout.code}/scheduler/")
        moved: dict[str, tuple[str, ...]] = {}
        for old, places in rows.items():
            path = layout.place(old)
            ends = tuple(renames.home(layout.place(new)) for new in _listed(places))
            moved[path] = ends
            if all(end.startswith(HOME) for end in ends):
                moved[renames.home(path)] = ends
        return replace(renames, places=moved)

    def home(self, path: str) -> str:
        """The path of a file of the scheduler where the scheduler is now, if its place in there is the same; any other as it is."""
        if self.old_place and path.startswith(self.old_place):
            return f"{HOME}{path.removeprefix(self.old_place)}"
        return path

    def targets(self, path: str, known: Collection[str]) -> tuple[str, ...] | None:
        """Where the text of `path` is now.

        Args:
            path: Where it was.
            known: The paths that there are today; places that moved again are followed to one of these.

        Returns:
            The paths, in the table's order; none when it has no successor; None when the table does not know the file,
            or when it is still there and is a file of its own.
        """
        if path not in self.places:
            return self._by_folder(path, known)
        ends = [end for end in self._ends(path) if end in known]
        if path in known and path not in ends:
            return None
        return tuple(ends) if ends or not self.places[path] else None

    def _by_folder(self, path: str, known: Collection[str]) -> tuple[str, ...] | None:
        """Where a file is that the table does not name: where its folder is, if the project has that."""
        home = self.home(path)
        if home == path or not any(file.startswith(HOME) for file in known):
            return None
        return (home,) if home in known else ()

    def _ends(self, path: str) -> list[str]:
        """The places at the ends of all ways from `path`; one that is passed twice is an end."""
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


def _listed(places: object) -> list[str]:
    if isinstance(places, str):
        return [places]
    assert isinstance(places, list)  # a test reads the whole table
    return [str(place) for place in places]


def has_old_place(paths: Collection[str], layout: Layout | None) -> bool:
    """Whether files of the scheduler are in the project's package, where releases before 0.2 put them.

    Args:
        paths: The files that the lock knows.
        layout: Where the project has its code; None where nobody asks.
    """
    return layout is not None and any(
        path.startswith(f"{layout.code}/scheduler/") for path in paths
    )


def is_moving(before: Collection[str], after: Collection[str]) -> bool:
    """Whether the scheduler's source comes to `vendor/` from the project's package.

    Args:
        before: The files that the lock knows.
        after: Those that it will know.
    """
    had, has = (any(path.startswith(HOME) for path in paths) for paths in (before, after))
    return has and not had and any("/scheduler/" in path for path in before)
