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

_MODULES = {
    "serve": ("cli.commands.serve", "serve"),
    "worker": ("cli.commands.serve", "worker"),
    "migrate": ("cli.commands.system", "migrate"),
    "job": ("cli.commands.jobs", "job_group"),
    "run": ("cli.commands.runs", "run_group"),
    "inbox": ("features.triage.commands", "inbox_group"),
    "flow": ("features.flows.commands", "flow_group"),
    "batch": ("features.batches.commands", "batch_group"),
    "limits": ("cli.commands.limits", "limits"),
    "why": ("features.triage.commands", "why"),
    "upcoming": ("features.timeline.commands", "upcoming"),
    "timeline": ("features.timeline.commands", "timeline"),
    "heatmap": ("features.timeline.commands", "heatmap"),
    "alert": ("features.alerts.commands", "alert_group"),
    "alert-rules": ("features.alerts.commands", "alert_rules"),
    "bulk": ("features.triage.commands", "bulk_group"),
    "backfill": ("features.triage.commands", "backfill"),
    "override": ("features.overrides.commands", "override_group"),
    "queue": ("cli.commands.system", "queue_group"),
    "calendar": ("features.calendars.commands", "calendar_group"),
    "maintenance": ("features.calendars.commands", "maintenance_group"),
    "server": ("cli.commands.server", "server_group"),
    "release": ("cli.commands.server", "release_group"),
    "doctor": ("features.doctor.commands", "doctor"),
    "docs": ("cli.commands.docs", "docs"),
    "owner": ("features.legacy.commands", "owner_group"),
    "shadow": ("features.legacy.commands", "shadow_group"),
    "cutover": ("features.legacy.commands", "cutover_group"),
    "audit": ("features.audit.commands", "audit_group"),
    "prune": ("cli.commands.system", "prune"),
    "user": ("features.accounts.commands", "user_group"),
    "token": ("features.accounts.commands", "token_group"),
    "role": ("features.accounts.commands", "role_group"),
    "session": ("features.accounts.commands", "session_group"),
    "secret": ("cli.commands.secrets", "secret_group"),
    "webhook": ("features.events.commands", "webhook_group"),
    "profile": ("cli.commands.profile", "profile_group"),
    "completion": ("cli.commands.profile", "completion"),
    "import-history": ("features.legacy.commands", "import_history"),
}


class LazyCommands(Commands):
    """Group that imports a command's module when the command is used."""

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run the command, and defer the import of the ORM."""
        leave_orm_until_asked()
        return super().main(*args, **extra)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of commands, in the order of the help."""
        return [*super().list_commands(ctx), *_MODULES]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command; ``None`` for an unknown name."""
        if cmd_name not in _MODULES:
            return super().get_command(ctx, cmd_name)
        module, name = _MODULES[cmd_name]
        command: click.Command = getattr(import_module(f"..{module}", __package__), name)
        return command


def _print_version(ctx: click.Context, _parameter: click.Parameter, wanted: Any) -> None:
    if wanted and not ctx.resilient_parsing:
        from ..project import current

        try:
            name = current().name
        except ProjectError as error:  # runs before the command, outside `Commands.invoke`
            raise CliError(str(error)) from None
        click.echo(f"{name}, {DISTRIBUTION} {__version__} ({MODE})")
        ctx.exit()


@click.group(
    cls=LazyCommands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Settings come from environment variables that start with TARGCC_, and from .env.",
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
    help="Ask the server with this dashboard instead of the project's database.",
)
@click.option("--token", envvar="TARGCC_TOKEN", help="The API token for it, ${NAME}, or file:PATH.")
@click.option(
    "--ca", envvar="TARGCC_CA", metavar="FILE", help="Certificates of the authority it trusts."
)
@click.option(
    "--profile",
    metavar="NAME",
    shell_complete=profile_names,
    help="A server of targcc profile; local is none.",
)
def main(**_where: str | None) -> None:
    """Run and look after the jobs of this project, here or at a server."""
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
