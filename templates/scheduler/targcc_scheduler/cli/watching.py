"""``--watch``: what a command shows, again and again."""

from __future__ import annotations

import contextlib
import functools
import io
import itertools
import json
import shutil
import sys
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar, cast

import click

from .group import CliError

Function = TypeVar("Function", bound=Callable[..., Any])
_USUAL = "2"
_sleep = time.sleep


def watch_option(command: Function) -> Function:
    """``--watch [SECONDS]``: show it anew every few seconds, in place on a terminal and below each other elsewhere; Ctrl-C ends it."""

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
        help=f"Show it anew every {_USUAL} seconds, or so many; Ctrl-C ends it.",
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
        screen.write(f"error: {error.message}\n")  # a server may be back at the next look
    except (SystemExit, click.exceptions.Exit):
        pass  # a status, such as that of what doctor found: what is shown says it
    _show(screen.getvalue(), terminal=terminal, as_json=as_json)


class _Terminal(io.StringIO):
    """Takes what a command prints for a terminal."""

    def isatty(self) -> bool:
        """Whether tables may have colours."""
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
    # Home, each line with the rest of the old one erased, then what is below: nothing flickers.
    screen = "\x1b[H" + "".join(f"{line}\x1b[K\n" for line in lines) + "\x1b[J"
    click.echo(screen, nl=False, color=True)
    sys.stdout.flush()
