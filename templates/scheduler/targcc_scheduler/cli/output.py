"""Print tables, pairs and JSON; repeat a command with ``--watch``."""

from __future__ import annotations

import contextlib
import functools
import io
import itertools
import json
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from importlib.util import find_spec
from typing import Any, TypeVar, cast

import click

from ..core import humanize
from ..core.masking import mask, masked
from ..core.text import visible, visible_json
from ..project import current
from ..schedules.zones import parse_zone
from .common import Function as CommonFunction
from .common import duration, instant
from .group import CliError

# ``--watch``: repeat a command.

Function = TypeVar("Function", bound=Callable[..., Any])
_USUAL = "2"
_sleep = time.sleep


def watch_option(command: Function) -> Function:
    """Add ``--watch [SECONDS]``: repeat the command every few seconds until Ctrl-C.

    On a terminal, each output replaces the previous output; elsewhere, outputs follow each other.
    """

    @functools.wraps(command)
    def repeated(*arguments: Any, watch: float | None, **options: Any) -> Any:
        if watch is None:
            return command(*arguments, **options)
        as_json = bool(options.get("as_json"))
        with contextlib.suppress(KeyboardInterrupt):
            for number in itertools.count():
                if number:
                    _sleep(watch)
                _look(lambda: command(*arguments, **options), first=not number, as_json=as_json)
        return None

    option = click.option(
        "--watch",
        type=click.FloatRange(min=0.1, max=86_400),
        is_flag=False,
        flag_value=_USUAL,
        metavar="[SECONDS]",
        help=f"Refresh the output every {_USUAL} seconds, or every SECONDS. Ctrl-C ends it.",
    )
    return cast("Function", option(repeated))


def _is_terminal() -> bool:
    return sys.stdout.isatty()


def _look(command: Callable[[], Any], *, first: bool, as_json: bool) -> None:
    terminal = _is_terminal()
    screen = _Terminal() if terminal else io.StringIO()
    try:
        with contextlib.redirect_stdout(screen):
            command()
    except CliError as error:
        if first:
            raise
        screen.write(f"{error.report()}\n")  # a server may be up again at the next repetition
    except (SystemExit, click.exceptions.Exit):
        pass  # an exit status, such as doctor's: the output shows the findings
    _show(screen.getvalue(), terminal=terminal, as_json=as_json)


class _Terminal(io.StringIO):
    """Buffer that captures a command's output as for a terminal."""

    def isatty(self) -> bool:
        """Return true, so that tables have colours."""
        return True


def _show(text: str, *, terminal: bool, as_json: bool) -> None:
    if as_json and text.startswith(("{", "[")):
        text = json.dumps(json.loads(text), ensure_ascii=False) + "\n"
    if not terminal:
        click.echo(text)
        sys.stdout.flush()
        return
    size = shutil.get_terminal_size()
    lines = [f"{datetime.now().astimezone():%H:%M:%S}", *text.splitlines()][: size.lines - 1]
    # Move the cursor home, overwrite each line and erase its rest, then erase the lines below. Clearing the screen first would flicker.
    screen = "\x1b[H" + "".join(f"{line}\x1b[K\n" for line in lines) + "\x1b[J"
    click.echo(screen, nl=False, color=True)
    sys.stdout.flush()


# Output of commands: tables, pairs, JSON.


def json_option(command: CommonFunction) -> CommonFunction:
    """Add ``--json``: output for programs."""
    option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
    return option(command)


def shows(command: CommonFunction) -> CommonFunction:
    """Add ``--json`` and ``--watch`` to a command that only reads."""
    return json_option(watch_option(command))


def limit_option(command: CommonFunction) -> CommonFunction:
    """Add ``--limit``: most rows of a list."""
    option = click.option(
        "--limit",
        type=click.IntRange(1, 10_000),
        default=20,
        show_default=True,
        help="Maximum number of rows, newest first.",
    )
    return option(command)


@contextlib.contextmanager
def progress_line() -> Iterator[Callable[[str], None]]:
    """Yield a function that prints progress to stderr. On a terminal, progress takes a single line, cleared at the end; elsewhere, print nothing."""
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


def pause_options(command: CommonFunction) -> CommonFunction:
    """Add ``--reason`` and ``--until`` to a command that pauses a job or queue."""
    reason = click.option("--reason", help="Reason, shown to other people.")
    until = click.option(
        "--until",
        type=instant,
        metavar="TIME",
        help="Time of the automatic resume, such as 2026-12-31T08:00 or 2h.",
    )
    return reason(until(command))


def wait_options(command: CommonFunction) -> CommonFunction:
    """Add ``--wait`` and ``--timeout`` to a command that starts a run."""
    wait = click.option(
        "--wait", is_flag=True, help="Wait for completion. Exit status 1 unless it succeeds."
    )
    return wait(_timeout("With --wait: stop waiting after this time, such as 10m.")(command))


def full_option(command: CommonFunction) -> CommonFunction:
    """Add ``--full``: whole tracebacks."""
    option = click.option(
        "--full", is_flag=True, help="Show whole tracebacks, not only the frames of your own files."
    )
    return option(command)


def timeout_option(command: CommonFunction) -> CommonFunction:
    """Add ``--timeout`` to a command that waits."""
    return _timeout("Stop waiting after this time, such as 10m.")(command)


def _timeout(text: str) -> Callable[[CommonFunction], CommonFunction]:
    return click.option("--timeout", type=duration, metavar="DURATION", help=text)


def done(message: str, *, as_json: bool, **more: Any) -> None:
    """Print a command's result message; with ``as_json``, print the message and ``more`` as JSON."""
    if as_json:
        print_json({**more, "message": message})
    else:
        click.echo(as_shown(message, lines=True))


def print_json(value: Any) -> None:
    """Print a value as JSON, with secrets masked: records of answers, models, dataclasses and containers of these."""
    plain = masked(json.loads(json.dumps(value, default=_jsonable)))
    click.echo(visible_json(json.dumps(plain, ensure_ascii=False, indent=2)))


def _jsonable(value: Any) -> Any:
    from pydantic_core import to_jsonable_python

    return to_jsonable_python(value)


def print_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows: on a terminal as a table that fits the width; in a pipe, or without ``rich``, as aligned columns of full length."""
    cells = [[_one_line(cell) for cell in row] for row in rows]
    if sys.stdout.isatty() and find_spec("rich"):
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
    "retrying": "yellow",
    "running": "blue",
    "paused": "magenta",
}


def _one_line(text: str) -> str:
    return as_shown(" ".join(text.split()))


def as_shown(text: str, *, lines: bool = False) -> str:
    """Make a foreign text safe for a terminal: mask secrets and make control characters visible.

    Args:
        text: Text such as a name, a message, or a traceback.
        lines: True keeps line breaks.
    """
    return visible(mask(text), lines=lines)


def print_pairs(pairs: Iterable[tuple[str, str]]) -> None:
    """Print a name and its value per line; skip empty values."""
    shown = [(name, value) for name, value in pairs if value]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        click.echo(f"{name.ljust(width)}  {as_shown(value, lines=True)}")


def when(instant: datetime | None, now: datetime) -> str:
    """Format an instant in the project's zone, with the time relative to ``now``; empty for ``None``."""
    if instant is None:
        return ""
    zone = parse_zone(current().timezone)
    return f"{humanize.clock(instant, now, zone)} ({humanize.relative(instant, now)})"
