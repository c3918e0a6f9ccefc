"""The command that imports the old history."""

from __future__ import annotations

import sys
import zlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from ...core.errors import HistoryError
from ...legacy.history_import import load_history
from ...preparing import migrate
from ..common import operator, settings
from ..group import CliError


@click.command("import-history")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def import_history(file: Path) -> None:
    """Put the old server's run history into c_LoggedJob.

    FILE is what `targcc-gen import-legacy` wrote, data/legacy_history.jsonl.gz. It can be loaded again: only what is missing is
    added.

    \b
    Example:
      targcc import-history data/legacy_history.jsonl.gz
    """
    chosen = settings()
    migrate(chosen.database_url)
    size = file.stat().st_size
    try:
        with click.progressbar(length=size, label="Loading", file=sys.stderr) as bar:
            loaded = load_history(
                chosen.database_url,
                file,
                by=operator(),
                progress=lambda at: bar.update(at - bar.pos),
            )
    except (HistoryError, OSError, EOFError, zlib.error) as error:
        raise CliError(f"{error}\n  Nothing was loaded.") from None
    click.echo(f"{loaded.added:,} runs added, {loaded.present:,} were there already")
    limit = datetime.now(UTC) - timedelta(days=chosen.history_days)
    if loaded.oldest is not None and loaded.oldest < limit:
        click.echo(
            f"Runs older than {chosen.history_days} days are removed in time, but for the last {chosen.history_keep} of each"
            f" job. The oldest is of {loaded.oldest:%Y-%m-%d}: TARGCC_HISTORY_DAYS says how long to keep them."
        )
