"""What was asked of `targcc-gen import-legacy`."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from targcc_gen.errors import InputError

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from targcc_gen.importing.arrival import Request


@dataclass(frozen=True)
class Asked:
    """What was asked for, beyond the files and how to read them."""

    new: Path | None
    into: Path | None
    scheduler: str | None
    mode: str
    paused: bool
    report: tuple[Path, ...]
    mine: tuple[str, ...]
    old: tuple[str, ...]
    source: str | None
    partial: bool
    accept_rejected: bool
    dry_run: bool
    diff: bool
    as_json: bool

    @property
    def hybrid(self) -> bool:
        """Whether the rows stay in c_Job."""
        return self.mode == "hybrid"

    @property
    def target(self) -> Path | None:
        """The project's folder."""
        return self.new or self.into

    @property
    def writes(self) -> bool:
        """Whether a project is written."""
        return self.target is not None and not self.dry_run

    def joining(self) -> Request:
        """What was said about rows that the project knows, and how new ones arrive."""
        from targcc_gen.importing.arrival import Request
        from targcc_gen.importing.changes import Choices

        choices = Choices.of(self.mine, self.old)
        return Request(
            choices, self.source, self.partial, self.accept_rejected, self.paused, self.scheduler
        )

    def check(self) -> None:
        """Refuse what cannot be meant.

        Raises:
            UsageError: Options exclude each other, or say nothing.
        """
        from targcc_gen.report.document import FORMATS

        if self.new is not None and self.into is not None:
            raise click.UsageError("--new and --into exclude each other")
        if self.scheduler is not None and self.new is None:
            raise click.UsageError("--scheduler is of a new project: --new DEST")
        if self.paused and self.hybrid:
            raise click.UsageError(
                "--paused and --mode hybrid exclude each other: its rows stay there"
            )
        for report in self.report:
            if report.suffix.lower() not in FORMATS:
                raise click.UsageError(f"--report {report}: it must end in {', '.join(FORMATS)}")
        if self.source is not None and not (self.source.strip() and self.source.isprintable()):
            raise click.UsageError("--source needs a name, such as the old server's")


def old_zone(name: str | None, *, ask: bool) -> ZoneInfo:
    """The old server's zone; asked for on a terminal when it was not given."""
    from targcc_gen.sources.zones.zones import HINT, WHY, resolve_zone

    if name is None and ask and sys.stdin.isatty() and sys.stderr.isatty():
        click.echo(f"{WHY}\n{HINT}", err=True)
        name = click.prompt("Time zone of the old server", err=True)
    if name is None:
        raise InputError("--timezone is missing. " + WHY, hint=HINT)
    return resolve_zone(name)
