"""The command line. Only click is imported here: a command's module is imported when it is called."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from targcc_gen import __version__
from targcc_gen.errors import TargccError

# Section, command, what it does. The command is in the module of the same name.
_COMMANDS = (
    ("Make a project", "new", "Render a project from a spec, or from a few answers."),
    ("Make a project", "import-legacy", "Bring the jobs of an old c_Job table over."),
    ("Make a project", "patch", "Put the scheduler into a FastAPI app that is there already."),
    ("Make a project", "demo", "Render the example project and run it."),
    ("Change it", "job", "Add a job, or remove one."),
    ("Change it", "regenerate", "Bring all files to what the spec asks for; edits are merged."),
    ("Change it", "restore", "Bring a deleted file back, or drop the edits of one."),
    ("Change it", "eject", "Make a managed file yours alone."),
    ("Look", "status", "Say which files were edited, deleted or ejected, and what is due."),
    ("Look", "blueprints", "List what a job can start out as."),
    ("Look", "cron", "Say what a cron expression means and when it runs."),
    ("Look", "schema", "Print the JSON Schema of a spec."),
    ("Look", "doctor", "Check this machine and the project for what often goes wrong."),
)

_INTERRUPTED = 130
_OUR_FAULT = 70


class _Commands(click.Group):
    """Commands that are imported when they are needed; all errors end here."""

    debug = False

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return [name for _, name, _ in _COMMANDS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        import importlib

        name = cmd_name.replace("-", "_")
        command = getattr(importlib.import_module(f"targcc_gen.cli.{name}"), name)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if not name.startswith("-") and name not in self.list_commands(ctx):
            ctx.fail(f"no command {name!r}{self._suggestion(ctx, name)}")
        return super().resolve_command(ctx, args)

    def _suggestion(self, ctx: click.Context, name: str) -> str:
        from difflib import get_close_matches

        close = get_close_matches(name.lower(), self.list_commands(ctx), n=1, cutoff=0.5)
        return f": did you mean {close[0]!r}?" if close else ""

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's signature
        formatter: click.HelpFormatter,
    ) -> None:
        for section in dict.fromkeys(section for section, _, _ in _COMMANDS):
            with formatter.section(section):
                formatter.write_dl([(name, text) for of, name, text in _COMMANDS if of == section])

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,  # noqa: FBT001, FBT002 - click's signature
        **extra: Any,
    ) -> Any:
        """Run the command line; with `standalone_mode` errors are printed and end the process with their status."""
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        _use_utf8()
        try:
            status = super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        except click.ClickException as error:
            error.show()
            status = 2
        except TargccError as error:
            if self.debug:
                raise
            show_error(error)
            status = error.exit_status
        except click.Abort:  # click has ended the line that ^C stands in
            click.echo("Stopped.", err=True)
            status = _INTERRUPTED
        except BrokenPipeError:  # the reader, such as `head`, has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            status = 0
        except Exception as error:
            if self.debug:
                raise
            click.echo(
                f"error: this should not have happened: {type(error).__name__}: {error}", err=True
            )
            click.echo(
                "  Run it again as targcc-gen --debug … and report what it prints.", err=True
            )
            status = _OUR_FAULT
        sys.exit(status if isinstance(status, int) else 0)


def show_error(error: TargccError) -> None:
    """Print an error to the standard error stream, as every command does."""
    prefix = click.style("error: ", fg="red") if error.prefix else ""
    click.echo(f"{prefix}{error.message}", err=True)
    if error.hint:
        click.echo("\n".join(f"  {line}" for line in error.hint.splitlines()), err=True)


def _use_utf8() -> None:
    """Print any text: a pipe on Windows, or in the C locale, would fail on the first letter it does not know."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Every command has its own help and example: targcc-gen job --help",
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
