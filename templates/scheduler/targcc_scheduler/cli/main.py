"""Command line ``targcc``. Exit status: 0 done, 1 the awaited run did not succeed, 2 the command cannot be carried out."""

from __future__ import annotations

import atexit
import gc
import sys
import traceback
from importlib import import_module
from types import TracebackType
from typing import Any

import click

from ..core.errors import ProjectError
from ..core.masking import mask
from ..core.memory import leave_orm_until_asked
from ..core.text import visible
from ..core.version import DISTRIBUTION, MODE, __version__
from .completing import profile_names
from .group import CliError, Commands

KERNEL = {
    "serve": ("cli.commands.serve", "serve"),
    "worker": ("cli.commands.serve", "worker"),
    "migrate": ("cli.commands.system", "migrate"),
    "job": ("cli.commands.jobs", "job_group"),
    "run": ("cli.commands.runs", "run_group"),
    "limits": ("cli.commands.limits", "limits"),
    "queue": ("cli.commands.system", "queue_group"),
    "server": ("cli.commands.server", "server_group"),
    "release": ("cli.commands.server", "release_group"),
    "docs": ("cli.commands.docs", "docs"),
    "explain": ("cli.commands.docs", "explain"),
    "prune": ("cli.commands.system", "prune"),
    "secret": ("cli.commands.secrets", "secret_group"),
    "profile": ("cli.commands.profile", "profile_group"),
    "completion": ("cli.commands.profile", "completion"),
}


class LazyCommands(Commands):
    """Group that imports a command's module when the command is used."""

    prefix = ""

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run the command, and defer the import of the ORM."""
        leave_orm_until_asked()
        return super().main(*args, **extra)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of commands, in the order of the help."""
        names = [name for name in super().list_commands(ctx) if name in self.commands] + [*KERNEL]
        left = {name: part.after for name, (_, part) in self.of_features().items()}
        while left:
            name = next((name for name, after in left.items() if after in names), min(left))
            after = left.pop(name)
            names.insert(names.index(after) + 1 if after in names else len(names), name)
        return names

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command; ``None`` for an unknown name."""
        if cmd_name in KERNEL:
            module, name = KERNEL[cmd_name]
            command: click.Command = getattr(import_module(f"..{module}", __package__), name)
            return command
        return super().get_command(ctx, cmd_name)


def _print_version(ctx: click.Context, _parameter: click.Parameter, wanted: Any) -> None:
    if wanted and not ctx.resilient_parsing:
        from ..project import current

        try:
            name = current().name
        except ProjectError as error:  # runs before the command, outside `Commands.invoke`
            raise CliError(str(error), code=error.code) from None
        click.echo(f"{name}, {DISTRIBUTION} {__version__} ({MODE})")
        ctx.exit()


@click.group(
    cls=LazyCommands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Settings are read from environment variables that start with TARGCC_, and from .env.",
)
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_print_version,
    help="Show the version and exit.",
)
@click.option(
    "--server",
    envvar="TARGCC_SERVER",
    metavar="URL",
    help="URL of a dashboard: send the command to its server instead of the project's database.",
)
@click.option(
    "--token",
    envvar="TARGCC_TOKEN",
    help="API token for --server, or a reference: ${NAME} or file:PATH.",
)
@click.option(
    "--ca",
    envvar="TARGCC_CA",
    metavar="FILE",
    help="File with the certificates of the trusted authority.",
)
@click.option(
    "--profile",
    metavar="NAME",
    shell_complete=profile_names,
    help="Profile of targcc profile: send the command to its server. local: the project's database.",
)
def main(**_where: str | None) -> None:
    """Run and manage the jobs of this project, locally or on a server."""
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = _show_without_secrets
    _end_at_once()


def _end_at_once() -> None:
    """Skip garbage collection at exit, since the system frees the memory anyway; saves a quarter of a short command's time."""
    atexit.unregister(gc.freeze)
    atexit.register(gc.freeze)


def _show_without_secrets(
    kind: type[BaseException], error: BaseException, traced: TracebackType | None
) -> None:
    """Print the traceback of an unexpected error, with secrets masked and control characters visible."""
    text = "".join(traceback.format_exception(kind, error, traced))
    click.echo(visible(mask(text), lines=True), err=True, nl=False)
