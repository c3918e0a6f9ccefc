"""``targcc docs``: the guides that come with the scheduler."""

from __future__ import annotations

import sys

import click

from ...guides import GUIDES, guide


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
    elif sys.stdout.isatty():
        _show(guide(name))
    else:
        click.echo(guide(name), nl=False)


def _show(text: str) -> None:
    from rich.console import Console
    from rich.markdown import Markdown

    console = Console()
    with console.pager(styles=True):
        console.print(Markdown(text))
