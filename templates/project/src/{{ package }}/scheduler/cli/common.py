# Managed by targcc-gen: regenerate merges your edits; `targcc-gen eject PATH` makes the file yours.
"""What the commands share: errors in words, the scheduler opened for one command, tables and JSON."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import json
import logging
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

import click
import pydantic
import sqlalchemy as sa

from .. import project
from ..actor import Actor, ActorKind
from ..arguments import ArgumentsError
from ..auth import AuthError
from ..cron import CronError, parse_duration, parse_zone
from ..dashboard import words
from ..database import sync_engine
from ..scheduler import RunStateError, Scheduler, UnknownJob, UnknownRun
from ..settings import Settings
from ..store.control import PauseError
from ..tables import job_user

T = TypeVar("T")
Function = TypeVar("Function", bound=Callable[..., Any])


class CliError(click.ClickException):
    """Something cannot be done; the message says why and what to do. Exit status 2."""

    exit_code = 2

    def show(self, file: Any = None) -> None:
        """Print it to stderr."""
        click.echo(f"error: {self.message}", file=file or sys.stderr)


class Commands(click.Group):
    """A group whose commands fail in words instead of a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except UnknownJob as error:
            raise CliError(f"{error}\n  targcc job list shows what there is") from error
        except ArgumentsError as error:
            said = "; ".join(str(error).splitlines())
            raise CliError(f"the arguments do not fit: {said}") from error
        except (UnknownRun, RunStateError, PauseError, AuthError, CronError) as error:
            raise CliError(str(error)) from error
        except sa.exc.DBAPIError as error:
            raise CliError(_database_error(error)) from error
        except sa.exc.SQLAlchemyError as error:
            raise CliError(f"the database cannot be used: {error}") from error


def _database_error(error: sa.exc.DBAPIError) -> str:
    reason = str(error.orig).strip().splitlines()[0]
    return (
        f"the database {settings().shown_database_url} cannot be used: {reason}\n"
        "  TARGCC_DATABASE_URL says where it is."
    )


def settings(**overrides: Any) -> Settings:
    """The settings; those that are not ``None`` in ``overrides`` go before the environment.

    Raises:
        CliError: one of them is wrong.
    """
    try:
        return Settings(**{name: value for name, value in overrides.items() if value is not None})
    except pydantic.ValidationError as error:
        lines = [
            f"TARGCC_{'_'.join(map(str, item['loc'])).upper()}: {item['msg'].removeprefix('Value error, ')}"
            for item in error.errors(include_input=False, include_url=False)
        ]
        raise CliError("\n".join(lines)) from None


def has_users(chosen: Settings) -> bool:
    """Whether anybody may sign in with a password; the tables have to be there."""
    with sync_engine(chosen.database_url) as engine, engine.connect() as connection:
        return connection.execute(sa.select(job_user.c.Name).limit(1)).first() is not None


@contextlib.asynccontextmanager
async def opened(*, work_on: str | None = None) -> AsyncIterator[Scheduler]:
    """The scheduler for one command, with its database brought up to date.

    Args:
        work_on: A queue to take runs from meanwhile; by default this process runs nothing.
    """
    logging.getLogger().addHandler(
        logging.NullHandler()
    )  # what is wrong is said in words, not in log lines
    scheduler = Scheduler(settings())
    queues = [work_on] if work_on is not None else None
    try:
        await scheduler.start(work=work_on is not None, schedule=False, queues=queues)
        yield scheduler
    finally:
        await scheduler.stop()


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a command's coroutine to its end."""
    return asyncio.run(coroutine)


def operator() -> Actor:
    """Who sits at this terminal."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError):  # a container may have a user without a name
        name = "unknown"
    return Actor(ActorKind.CLI, name)


def json_option(command: Function) -> Function:
    """``--json``: for programs."""
    option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
    return option(command)


def duration(text: str) -> timedelta:
    """The type of options that take a duration such as ``90s``, ``15m``, ``2d``."""
    try:
        return parse_duration(text)
    except CronError as error:
        raise click.BadParameter(str(error)) from None


def instant(text: str) -> datetime:
    """The type of options that take ``2026-12-31T08:00``, in the project's zone unless it names one, or a duration from now."""
    zone = parse_zone(project.TIMEZONE)
    with contextlib.suppress(CronError):
        return datetime.now(zone) + parse_duration(text)
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is no time such as 2026-12-31T08:00, nor a duration such as 2h"
        ) from None
    return found if found.tzinfo is not None else found.replace(tzinfo=zone)


def print_json(value: Any) -> None:
    """Print a model, or anything made of models and plain values, as JSON."""
    click.echo(json.dumps(_plain(value), ensure_ascii=False, indent=2, default=str))


def _plain(value: Any) -> Any:
    if isinstance(value, pydantic.BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value


def print_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows: a table that fits the terminal, or aligned columns with nothing cut off in a pipe."""
    cells = [[_one_line(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _print_rich(headings, cells)
        return
    widths = [max(map(len, column)) for column in zip(headings, *cells, strict=True)]
    for row in [list(headings), *cells]:
        padded = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(padded).rstrip())


def _print_rich(headings: Sequence[str], cells: list[list[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in headings:
        table.add_column(heading)
    for row in cells:
        table.add_row(*(Text(cell, style=_STYLES.get(cell, "")) for cell in row))
    Console().print(table)


_STYLES = {
    "succeeded": "green",
    "failed": "bold red",
    "missed": "yellow",
    "will retry": "yellow",
    "running": "blue",
    "paused": "magenta",
}


def _one_line(text: str) -> str:
    return " ".join(text.split())


def print_pairs(pairs: Iterable[tuple[str, str]]) -> None:
    """Print names and values, one pair a line; those without a value are left out."""
    shown = [(name, value) for name, value in pairs if value]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        click.echo(f"{name.ljust(width)}  {value}")


def when(instant: datetime | None, now: datetime) -> str:
    """An instant with how far away it is, in the project's zone."""
    if instant is None:
        return ""
    zone = parse_zone(project.TIMEZONE)
    return f"{words.clock(instant, now, zone)} ({words.relative(instant, now)})"
