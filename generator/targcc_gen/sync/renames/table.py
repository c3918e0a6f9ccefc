"""Where managed files went, release by release: `renames.toml`, for one project."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from targcc_gen.render.tree import Layout

TABLE = Path(__file__).with_name("renames.toml")


@dataclass(frozen=True)
class Renames:
    """Where each file that moved is now.

    Attributes:
        places: The new paths by the old one: several for a file that was split, none for one that has no successor.
    """

    places: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def load(cls, layout: Layout | None) -> Renames:
        """The generator's table for a project with this layout; an empty one for no layout."""
        if layout is None:
            return cls()
        rows = tomllib.loads(TABLE.read_text(encoding="utf-8"))["moved"]
        return cls(
            {
                layout.place(old): tuple(layout.place(new) for new in _listed(places))
                for old, places in rows.items()
            }
        )

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
            return None
        found = [one for one in self._ends(path) if one in known]
        if path in known and path not in found:
            return None
        return tuple(found) if found or not self.places[path] else None

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
