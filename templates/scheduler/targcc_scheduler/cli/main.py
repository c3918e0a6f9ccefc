"""The command line: ``targcc``. Exit status: 0 done, 1 the run that was waited for did not succeed, 2 it cannot be done."""

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
from ..core.memory import leave_orm_until_asked
from ..core.secrets import mask
from ..core.text import visible
from ..core.version import DISTRIBUTION, MODE, __version__
from .api.completing import profile_names
from .group import CliError, Commands

_MODULES = {
    "serve": ("serve", "serve"),
    "worker": ("serve", "worker"),
    "migrate": ("system", "migrate"),
    "job": ("job_actions", "job_group"),
    "run": ("files.downloading", "run_group"),
    "inbox": ("oncall.inbox", "inbox_group"),
    "flow": ("flows.flow", "flow_group"),
    "batch": ("batches.batch", "batch_group"),
    "limits": ("limits.limits", "limits"),
    "why": ("oncall.why", "why"),
    "upcoming": ("timeline.coming", "upcoming"),
    "timeline": ("timeline.ran", "timeline"),
    "heatmap": ("timeline.ran", "heatmap"),
    "alert": ("oncall.alerts", "alert_group"),
    "alert-rules": ("oncall.prometheus", "alert_rules"),
    "bulk": ("oncall.bulk", "bulk_group"),
    "backfill": ("oncall.backfill", "backfill"),
    "override": ("oncall.overrides", "override_group"),
    "queue": ("system", "queue_group"),
    "calendar": ("calendars.calendar", "calendar_group"),
    "maintenance": ("calendars.maintenance", "maintenance_group"),
    "server": ("server", "server_group"),
    "release": ("server", "release_group"),
    "doctor": ("doctor", "doctor"),
    "docs": ("docs", "docs"),
    "owner": ("cutover.owners", "owner_group"),
    "shadow": ("cutover.looking", "shadow_group"),
    "cutover": ("cutover.switching", "cutover_group"),
    "audit": ("safety.audit", "audit_group"),
    "prune": ("system", "prune"),
    "user": ("users", "user_group"),
    "token": ("users", "token_group"),
    "role": ("safety.roles", "role_group"),
    "session": ("safety.sessions", "session_group"),
    "secret": ("safety.secrets", "secret_group"),
    "webhook": ("live.webhooks", "webhook_group"),
    "profile": ("remote.profile", "profile_group"),
    "completion": ("remote.completion", "completion"),
    "import-history": ("import_history", "import_history"),
}


class LazyCommands(Commands):
    """A group that imports the module of a command when the command is used."""

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run the command, in a process of ours."""
        leave_orm_until_asked()
        return super().main(*args, **extra)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order of the help."""
        return [*super().list_commands(ctx), *_MODULES]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A command, imported now."""
        if cmd_name not in _MODULES:
            return super().get_command(ctx, cmd_name)
        module, name = _MODULES[cmd_name]
        command: click.Command = getattr(import_module(f".commands.{module}", __package__), name)
        return command


def _print_version(ctx: click.Context, _parameter: click.Parameter, wanted: Any) -> None:
    if wanted and not ctx.resilient_parsing:
        from ..project import current

        try:
            name = current().name
        except ProjectError as error:  # this is before the command is invoked
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
    """Let Python look for no garbage in what the system takes back anyway; that is a quarter of a short command."""
    atexit.unregister(gc.freeze)
    atexit.register(gc.freeze)


def _show_without_secrets(
    kind: type[BaseException], error: BaseException, traced: TracebackType | None
) -> None:
    """The traceback of what nobody expected, with secrets masked and control characters visible."""
    text = "".join(traceback.format_exception(kind, error, traced))
    click.echo(visible(mask(text), lines=True), err=True, nl=False)
