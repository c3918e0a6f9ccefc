"""What commands print: tables, pairs, JSON."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

import click
from pydantic_core import to_jsonable_python

from ..core import humanize
from ..core.masking.structures import masked
from ..core.secrets import mask
from ..core.text import visible, visible_json
from ..project import current
from ..schedules import parse_zone
from .common import Function, duration, instant
from .watching import watch_option


def json_option(command: Function) -> Function:
    """``--json``: for programs."""
    option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
    return option(command)


def shows(command: Function) -> Function:
    """``--json`` and ``--watch`` of a command that shows something and changes nothing."""
    return json_option(watch_option(command))


def limit_option(command: Function) -> Function:
    """``--limit``: how many rows a list shows."""
    option = click.option(
        "--limit",
        type=click.IntRange(1, 10_000),
        default=20,
        show_default=True,
        help="At most so many, newest first.",
    )
    return option(command)


@contextlib.contextmanager
def progress_line() -> Iterator[Callable[[str], None]]:
    """A function that says on a terminal how far a command is, on one line that is gone at the end; silent elsewhere."""
    shown = sys.stderr.isatty()

    def say(text: str) -> None:
        if shown:
            click.echo(f"\r{text:<60}", nl=False, err=True)

    try:
        yield say
    finally:
        say("")
        if shown:
            click.echo("\r", nl=False, err=True)


def pause_options(command: Function) -> Function:
    """``--reason`` and ``--until`` of commands that pause something."""
    reason = click.option("--reason", help="What the next person should know.")
    until = click.option(
        "--until",
        type=instant,
        metavar="TIME",
        help="Resume by itself then, such as 2026-12-31T08:00 or 2h.",
    )
    return reason(until(command))


def wait_options(command: Function) -> Function:
    """``--wait`` and ``--timeout`` of commands that start a run."""
    wait = click.option(
        "--wait", is_flag=True, help="Wait until it is over; exit status 1 unless it succeeds."
    )
    return wait(_timeout("With --wait: give up after this, such as 10m.")(command))


def timeout_option(command: Function) -> Function:
    """``--timeout`` of a command that waits."""
    return _timeout("Give up after this, such as 10m.")(command)


def _timeout(said: str) -> Callable[[Function], Function]:
    return click.option("--timeout", type=duration, metavar="DURATION", help=said)


def done(message: str, *, as_json: bool, **more: Any) -> None:
    """Say what a command has done; ``more`` is for programs."""
    if as_json:
        print_json({**more, "message": message})
    else:
        click.echo(as_shown(message, lines=True))


def print_json(value: Any) -> None:
    """Print a value as JSON: models, frozen values, and what is made of them."""
    plain = masked(to_jsonable_python(value))
    click.echo(visible_json(json.dumps(plain, ensure_ascii=False, indent=2)))


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
    return as_shown(" ".join(text.split()))


def as_shown(text: str, *, lines: bool = False) -> str:
    """Somebody's text as a terminal may show it: without secrets, and with control characters made visible.

    Args:
        text: Such as a name, a message, or a traceback.
        lines: Whether it may have several lines.
    """
    return visible(mask(text), lines=lines)


def print_pairs(pairs: Iterable[tuple[str, str]]) -> None:
    """Print names and values, one pair a line; those without a value are left out."""
    shown = [(name, value) for name, value in pairs if value]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        click.echo(f"{name.ljust(width)}  {as_shown(value, lines=True)}")


def when(instant: datetime | None, now: datetime) -> str:
    """An instant with how far away it is, in the project's zone."""
    if instant is None:
        return ""
    zone = parse_zone(current().timezone)
    return f"{humanize.clock(instant, now, zone)} ({humanize.relative(instant, now)})"
