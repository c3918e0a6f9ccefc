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
from .group import CliError, Commands, tell_meant

KERNEL = {
    "serve": ("cli.commands.serve", "serve"),
    "dev": ("cli.commands.dev", "dev"),
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


HEADINGS = {
    "Serve": ("serve", "dev", "worker", "doctor", "docs", "explain"),
    "Jobs": ("job", "flow", "limits", "queue", "override", "calendar", "maintenance", "upcoming"),
    "Runs": ("run", "batch", "inbox", "why", "timeline", "heatmap", "bulk", "backfill"),
    "Servers and database": ("server", "release", "migrate", "prune"),
    "Alerts": ("alert", "alert-rules", "webhook"),
    "People": ("user", "token", "role", "session", "audit", "secret"),
    "From the old server": ("owner", "shadow", "cutover", "import-history"),
    "This command line": ("profile", "completion"),
    "More": (),
}
"""Headings of the help, each with its commands. Commands of a project's own features stand below the last heading."""

_WORDS = {
    "ls": "job list",
    "list": "job list",
    "status": "job list",
    "start": "serve",
    "up": "serve",
    "ps": "server list",
    "nodes": "server list",
    "log": "run log",
    "logs": "run log",
    "history": "run list",
    "next": "upcoming",
    "check": "doctor",
    "health": "doctor",
    "enqueue": "job run",
    "trigger": "job run",
    "exec": "job run",
    "pause": "job pause",
    "resume": "job resume",
    "info": "job info",
    "stats": "job stats",
    "show": "run show",
    "watch": "run watch",
    "cancel": "run cancel",
    "retry": "run retry",
    "drain": "server drain",
    "help": "--help",
    "version": "--version",
}
"""Words that people type for a command, and the command."""


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

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command for the arguments; ``run JOB`` and ``run job JOB`` run the job, ``run 5`` shows the run."""
        if len(args) > 1 and args[0] == "run" and not ctx.resilient_parsing:
            args = self._run_of(ctx, args)
        return super().resolve_command(ctx, args)

    def _run_of(self, ctx: click.Context, args: list[str]) -> list[str]:
        word, group = args[1], self.get_command(ctx, "run")
        assert isinstance(group, click.Group)
        if word.startswith("-") or group.get_command(ctx, word) is not None:
            return args
        from ..core.command_words import nearest, same_command

        names = group.list_commands(ctx)
        if word.lower() in {"job", "jobs"}:
            tell_meant(ctx, f"run {word}", "job run")
            return ["job", "run", *args[2:]]
        if word[:1].islower() and (same_command(word, names) or nearest(word, names)):
            return args
        command = "run show" if word.isdecimal() else "job run"
        tell_meant(ctx, f"run {word}", f"{command} {word}")
        return [*command.split(), *args[1:]]

    def meant(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Return the arguments for words such as ``jobs``, ``status`` and ``list runs``; unchanged for an unknown word."""
        from ..core.command_words import same_command

        names = self.list_commands(ctx)
        word, rest = args[0], args[1:]
        first, _, second = word.partition("-")
        for verb, noun, after in (
            *((word, text, rest[1:]) for text in rest[:1]),  # `list runs`, `pause job DailyReport`
            (first, second, rest),  # `list-runs`
            (second, first, rest),  # `run-list`
        ):
            if pair := self._command_of(ctx, verb, noun):
                tell_meant(ctx, " ".join(args[: len(args) - len(after)]), " ".join(pair))
                return [*pair, *after]
        command = _WORDS.get(word.lower(), "")
        if command == "serve" and rest and not rest[0].startswith("-"):
            command = "job run"  # `start DailyReport`
        elif not command and (name := same_command(word, names)) is not None:
            group = self.get_command(ctx, name)
            lists = isinstance(group, click.Group) and group.get_command(ctx, "list") is not None
            command = f"{name} list" if lists and (not rest or rest[0].startswith("--")) else name
        if not command:
            return args
        tell_meant(ctx, word, command)
        if command.startswith("--"):
            self._print_option(ctx, command)
        return [*command.split(), *rest]

    def _command_of(self, ctx: click.Context, verb: str, noun: str) -> tuple[str, str] | None:
        """Return the group that a noun names and the command that a verb names in the group."""
        from ..core.command_words import same_command

        name = same_command(noun, self.list_commands(ctx)) if verb and noun else None
        group = self.get_command(ctx, name) if name is not None else None
        if name is None or not isinstance(group, click.Group):
            return None
        command = same_command(verb, group.list_commands(ctx))
        return (name, command) if command is not None else None

    def _print_option(self, ctx: click.Context, option: str) -> None:
        if option == "--help":
            click.echo(ctx.get_help())
            ctx.exit()
        _print_version(ctx, self.params[0], wanted=True)

    def unknown(self, ctx: click.Context, word: str) -> str:
        """Return the message for a word that is no command: the nearest command, the other program, or the help."""
        from ..core.command_words import OF_GENERATOR, did_you_mean

        if word in OF_GENERATOR:
            return f"{word} is a command of the generator: targcc-gen {word}"
        names = self.list_commands(ctx)
        near = (
            did_you_mean(word, names)
            or did_you_mean(word, _WORDS, cutoff=0.75)
            or did_you_mean(word, self._below(ctx, names))
        )
        return f"targcc has no command {word!r}{near or ': targcc --help lists the commands'}"

    def _below(self, ctx: click.Context, names: list[str]) -> list[str]:
        """Return the commands of groups, with the name of the group."""
        groups = ((name, self.get_command(ctx, name)) for name in names)
        return [
            f"{name} {command}"
            for name, group in groups
            if isinstance(group, click.Group)
            for command in group.list_commands(ctx)
        ]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands below their headings."""
        headings = {name: heading for heading, names in HEADINGS.items() for name in names}
        last = next(reversed(HEADINGS))
        rows: dict[str, list[tuple[str, str]]] = {heading: [] for heading in HEADINGS}
        names = self.list_commands(ctx)
        limit = formatter.width - 6 - max(map(len, names))
        for name in names:
            command = self.get_command(ctx, name)
            if command is not None and not command.hidden:
                heading = headings.get(name, last)
                rows[heading].append((name, command.get_short_help_str(limit)))
        for heading, commands in rows.items():
            if commands:
                with formatter.section(heading):
                    formatter.write_dl(commands)


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
