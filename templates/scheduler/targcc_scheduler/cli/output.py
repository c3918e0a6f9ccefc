"""What commands print: tables, pairs, JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import click
import pydantic

from ..core import humanize
from ..project import current
from ..schedules import parse_zone
from .common import Function


def json_option(command: Function) -> Function:
    """``--json``: for programs."""
    option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
    return option(command)


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
    zone = parse_zone(current().timezone)
    return f"{humanize.clock(instant, now, zone)} ({humanize.relative(instant, now)})"
