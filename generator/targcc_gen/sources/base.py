"""What an old scheduler has to bring so that its jobs can be imported."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from targcc_gen.readers.exports import ExportFile
from targcc_gen.readers.rows import Item
from targcc_gen.readers.tables import KnownTables
from targcc_gen.sources.model import Import, Options
from targcc_gen.spec import Spec


class LegacySource(Protocol):
    """Turns the rows of one old scheduler's tables into jobs.

    The readers are given ``tables`` and call ``take``; when all files are read, ``convert`` is called once.
    """

    @property
    def tables(self) -> KnownTables:
        """What the readers look for."""

    def take(self, item: Item) -> None:
        """Keep a row of these tables, or a remark about one or about a file as a whole."""

    def convert(
        self, files: Sequence[ExportFile], options: Options, *, project: Spec | None = None
    ) -> Import:
        """Bring every row of the main table to its end: a job, an inactive job, or a rejection with its reason.

        Args:
            files: What was read.
            options: What the person decided.
            project: The project that the jobs will join: its names are taken, its zone may differ.

        Raises:
            InputError: The ends do not add up to the rows that were read.
        """
