"""The command line. It imports click alone; a command's module is imported when the command is called."""

from __future__ import annotations

import atexit
import gc
import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from targcc_gen import __version__
from targcc_gen.errors import INTERNAL, USAGE, CheckFailed, TargccError
from targcc_gen.visible import visible

# Sections of the help: each command with its summary. A command's module has the command's name.
_SECTIONS = (
    (
        "Make a project",
        (
            ("new", "Render a project from a spec or from a few answers."),
            ("import-legacy", "Import the jobs of c_Job or another scheduler."),
            ("patch", "Add the scheduler to an existing FastAPI app."),
            ("demo", "Render the example project and run it."),
        ),
    ),
    (
        "Change it",
        (
            ("job", "Add, rename or remove a job."),
            ("scheduler", "Switch the scheduler between a dependency and source in the project."),
            ("regenerate", "Update all files to the spec, and merge edits."),
            ("pull", "Copy job options from the code into targcc.yaml."),
            ("restore", "Restore a deleted file, or drop the edits of a file."),
            ("eject", "Eject a managed file: it becomes your own file."),
            ("merge-driver", "Merge generated files for git."),
        ),
    ),
    (
        "Look",
        (
            ("status", "List edited, deleted and ejected files, and needed updates."),
            ("explain", "Explain an error code, or the origin of a spec key's value."),
            ("blueprints", "List, check or fetch blueprints: starting points of job files."),
            ("cron", "Explain a schedule and list its next runs."),
            ("schema", "Print the JSON Schema of targcc.yaml, or of the JSON output of commands."),
            ("doctor", "Check this machine and the project for common problems."),
            ("completion", "Print the shell completion script."),
        ),
    ),
)
_COMMANDS = tuple(name for _, commands in _SECTIONS for name, _ in commands)

_WORDS = {
    "init": "new",
    "create": "new",
    "add": "job",
    "update": "regenerate",
    "upgrade": "regenerate",
    "sync": "regenerate",
    "ls": "status",
    "list": "status",
    "diff": "regenerate --diff --dry-run",
    "check": "doctor",
    "template": "blueprints",
    "templates": "blueprints",
    "help": "--help",
    "version": "--version",
}
"""Words that people type for a command, and the command."""

_HINTS = {"dest": "Name a folder that does not exist yet."}
"""Next step for a wrong value, by the name of its parameter."""

_OBJECTS = 100_000
"""The number of new objects after which Python collects garbage; high, because a command is short and allocates little."""

_INTERRUPTED = 130
_OUR_FAULT = 70


class _Commands(click.Group):
    """A group that imports a command's module on use, and turns every error into an exit status."""

    debug = False

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(_COMMANDS)

    def get_command(
        self, ctx: click.Context, cmd_name: str  # noqa: ARG002 - click's signature
    ) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        import importlib

        name = cmd_name.replace("-", "_")
        module = f"targcc_gen.cli.commands.{name}"
        command = getattr(importlib.import_module(module), name)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if not name.startswith("-") and name not in _COMMANDS and not ctx.resilient_parsing:
            args = [*self._meant(ctx, name), *args[1:]]
        return super().resolve_command(ctx, args)

    def _meant(self, ctx: click.Context, word: str) -> list[str]:
        """Return the command that an unknown word stands for, and name it; fail with the nearest command for a misspelt word."""
        from targcc_scheduler.core.command_words import OF_PROJECT, did_you_mean, same_command

        if word in OF_PROJECT or word.removesuffix("s") in OF_PROJECT or word == "jobs":
            ctx.fail(f"{word} is a command of the project: uv run targcc {word}")
        command = _WORDS.get(word.lower()) or same_command(word, _COMMANDS)
        if command is None:
            near = did_you_mean(word, _COMMANDS, cutoff=0.5)
            ctx.fail(f"no command {word!r}{near or ': targcc-gen --help lists the commands'}")
        click.echo(f"targcc-gen {word} is targcc-gen {command}", err=True)
        if command == "--help":
            click.echo(ctx.get_help())
            ctx.exit()
        if command == "--version":
            click.echo(f"targcc-gen {__version__}")
            ctx.exit()
        return command.split()

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's signature
        formatter: click.HelpFormatter,
    ) -> None:
        for section, commands in _SECTIONS:
            with formatter.section(section):
                formatter.write_dl(commands)

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,  # noqa: FBT001, FBT002 - click's signature
        **extra: Any,
    ) -> Any:
        """Run the command line. With `standalone_mode`, print errors and end the process with the exit status."""
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        words = sys.argv[1:] if args is None else args
        tell = _Program("--json" in words)
        _use_utf8()
        gc.set_threshold(_OBJECTS)
        _end_at_once()
        _forget_templates()
        try:
            status = super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        except click.ClickException as error:
            from targcc_scheduler.core.command_words import with_way_out

            error.message = visible(  # type: ignore[misc]  # final for those who catch it
                with_way_out(error, _HINTS), lines=True
            )
            error.show()
            status = 2
            tell.text("usage", USAGE, error.format_message(), status)
        except TargccError as error:
            if self.debug:
                raise
            show_error(error)
            status = error.exit_status
            tell.error(error)
        except click.Abort:  # click has already ended the line with ^C
            click.echo("Stopped.", err=True)
            status = _INTERRUPTED
        except BrokenPipeError:  # the reader, such as `head`, has closed the pipe
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            status = 0
        except Exception as error:
            if self.debug:
                raise
            click.echo(
                visible(
                    f"error[{INTERNAL}]: this should not have happened: {type(error).__name__}: {error}",
                    lines=True,
                ),
                err=True,
            )
            click.echo(
                "  Run it again as targcc-gen --debug … and report what it prints.", err=True
            )
            status = _OUR_FAULT
            tell.text("internal", INTERNAL, f"{type(error).__name__}: {error}", status)
        finally:
            _forget_templates()
        sys.exit(status if isinstance(status, int) else 0)


class _Program:
    """The JSON output of an error, if the command line has `--json`.

    Args:
        reads: Whether `--json` is given.
    """

    def __init__(self, reads: bool) -> None:  # noqa: FBT001 - it is all that there is to say
        self._reads = reads
        if reads:
            from targcc_gen.cli import json_output

            json_output.begin()

    def error(self, error: TargccError) -> None:
        """Print an error of targcc-gen as JSON."""
        if self._reads:
            from targcc_gen.cli import json_output

            json_output.print_errors(json_output.of_error(error), error.exit_status)

    def text(self, kind: str, code: str, text: str, status: int) -> None:
        """Print a usage error or an unexpected error as JSON."""
        if self._reads:
            from targcc_gen.cli import json_output

            json_output.print_errors([json_output.of_text(kind, code, text)], status)


def _end_at_once() -> None:
    """Skip the garbage collection at the end of the process: the system frees the memory. Saves a third of a short command."""
    atexit.unregister(gc.freeze)
    atexit.register(gc.freeze)


def _forget_templates() -> None:
    """Forget the team blueprints of an earlier call in this process: each call works on one project."""
    names = sys.modules.get("targcc_gen.spec.blueprint_names")
    if names is not None:
        names.use(names.Library())


def show_error(error: TargccError) -> None:
    """Print an error to standard error: its message with its code, its hint, and where the code is explained."""
    text = visible(error.report(), lines=True)
    if error.prefix:
        head, _, rest = text.partition(" ")
        text = f"{click.style(head, fg='red')} {rest}"
    click.echo(text, err=True)
    if error.hint:
        hint = visible(error.hint, lines=True)
        click.echo("\n".join(f"  {line}" for line in hint.splitlines()), err=True)
    if error.exit_status != CheckFailed.exit_status:
        from targcc_scheduler.core.error_codes import pointer

        click.echo(pointer(error.codes, "targcc-gen"), err=True)


def _use_utf8() -> None:
    """Escape characters that the streams cannot encode: a pipe on Windows or in the C locale would raise an error."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Every command has help with an example: targcc-gen job --help",
)
@click.version_option(__version__, message="targcc-gen %(version)s")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_context
def main(ctx: click.Context, *, debug: bool) -> None:
    """Generate a Python job scheduler, add jobs to it, and keep it up to date.

    \b
    targcc-gen new acme-jobs --yes
    cd acme-jobs && uv run targcc serve
    targcc-gen job DailyReport --cron "0 2 * * *"
    """
    _Commands.debug = debug
    if os.environ.get("NO_COLOR"):
        ctx.color = False
