"""The old jobs as they are read: from files, or from the database itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from targcc_gen.readers.exports import ExportFile
    from targcc_gen.sources.base import LegacySource


@dataclass(frozen=True, slots=True)
class How:
    """How the old jobs are read.

    Attributes:
        encoding: Of the files; None: it is found out.
        dates: The order of dates that can be read in several ways; None: each file has to tell.
        timeout: How long a database may be silent.
        schema: Where its tables are; None: they are looked for.
    """

    encoding: str | None
    dates: str | None
    timeout: str
    schema: str | None


def read(
    exports: tuple[str, ...], source: LegacySource, zone: ZoneInfo, how: How
) -> list[ExportFile]:
    """Let a source take everything.

    Args:
        exports: Files and folders, or one address.
        source: Takes the rows.
        zone: The old server's.
        how: How they are read.

    Raises:
        InputError: Nothing can be read there.
    """
    from targcc_gen.readers.database.address import is_address

    if not any(map(is_address, exports)):
        return _read_files(tuple(map(Path, exports)), source, zone, how)
    if len(exports) > 1:
        raise click.UsageError("give one database's address, or files: not several")
    from targcc_gen.cli.output.progress import Bar
    from targcc_gen.readers.database.contents import Wanted
    from targcc_gen.readers.database.reading import read_database
    from targcc_gen.readers.dates import EVERY_ORDER
    from targcc_gen.sources.c_job.tables import PROCEDURE

    orders = frozenset({how.dates}) if how.dates else EVERY_ORDER
    wanted = Wanted(source.tables, zone, how.schema, PROCEDURE, orders)
    with Bar("Reading") as bar:
        return read_database(
            exports[0], wanted, source.take, seconds=_seconds(how.timeout), progress=bar
        )


def _seconds(timeout: str) -> float:
    from targcc_scheduler.schedules.errors import CronError
    from targcc_scheduler.schedules.words import parse_duration

    try:
        seconds = parse_duration(timeout).total_seconds()
    except CronError as error:
        raise click.UsageError(f"--timeout: {error}") from None
    if seconds < 1:
        raise click.UsageError(f"--timeout {timeout}: a second is the least")
    return seconds


def _read_files(
    exports: tuple[Path, ...], source: LegacySource, zone: ZoneInfo, how: How
) -> list[ExportFile]:
    from targcc_gen.cli.output.progress import Bar
    from targcc_gen.readers.exports import read_exports

    total = sum(path.stat().st_size for path in exports if path.is_file())
    done = 0
    with Bar("Reading") as bar:

        def advance(count: int) -> None:
            nonlocal done
            done += count
            bar(min(done, total), total)

        return read_exports(
            exports,
            source.tables,
            source.take,
            encoding=how.encoding,
            zone=zone.key,
            dates=how.dates,
            progress=advance,
        )
