"""``targcc docs``, the guides that come with the scheduler, and ``targcc explain``, the texts of error codes."""

from __future__ import annotations

import sys
from dataclasses import asdict
from importlib.util import find_spec

import click

from ...core import error_codes
from ...guides import GUIDES, guide
from ..group import UnknownCodeError
from ..output import json_option, print_json


@click.command("docs")
@click.argument("name", metavar="GUIDE", required=False, type=click.Choice(tuple(GUIDES)))
def docs(*, name: str | None) -> None:
    """Show a guide: jobs, migration or security.

    A terminal shows the guide page by page; a pipe or file gets Markdown. The dashboard has the guides under /jobs/help.

    \b
    Example:
      targcc docs
      targcc docs jobs
      targcc docs jobs > guide.md
    """
    if name is None:
        for known, (_, subject) in GUIDES.items():
            click.echo(f"targcc docs {known:<10} {subject}")
    elif sys.stdout.isatty() and find_spec("rich"):
        _show(guide(name))
    else:
        click.echo(guide(name), nl=False)


def _show(text: str) -> None:
    from rich.console import Console
    from rich.markdown import Markdown

    console = Console()
    with console.pager(styles=True):
        console.print(Markdown(text))


@click.command("explain")
@click.argument("codes", metavar="CODE...", nargs=-1)
@json_option
def explain(*, codes: tuple[str, ...], as_json: bool) -> None:
    """Explain errors by the codes that messages show: meaning, example and next step.

    Without a code, all codes are listed. Codes that begin with TG belong to the generator: targcc-gen explain TG201.

    \b
    Example:
      targcc explain TS102
      targcc explain
    """
    known = error_codes.explanations()
    for code in codes:
        if code.upper() not in known:
            raise UnknownCodeError(
                f"no error has the code {code[:40]!r}{error_codes.nearest(code, known)}\n"
                "  targcc explain lists all codes"
            )
    shown = [known[code.upper()] for code in codes] or list(known.values())
    if as_json:
        print_json(
            [
                {**asdict(explanation), "manual": error_codes.address(explanation.code)}
                for explanation in shown
            ]
        )
    elif codes:
        click.echo("\n\n\n".join(explanation.text() for explanation in shown))
    else:
        click.echo("\n".join(f"{entry.code}  {entry.title}" for entry in shown))
