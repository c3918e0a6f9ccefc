"""Group of commands that prints a user's errors as messages, without a traceback."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, cast

import click

from ..core import errors
from ..core.error_codes import code_of, pointer
from ..core.masking import mask
from ..core.search_language import SearchError
from ..core.text import visible
from ..schedules.errors import CronError

if TYPE_CHECKING:
    from ..kernel.feature import Commands as CommandPart
    from ..kernel.feature import Feature

_SHOWN_AS_THEY_ARE = (
    errors.ExtraMissing,
    errors.UnknownRun,
    errors.UnknownQueue,
    errors.UnknownServer,
    errors.UnknownFailure,
    errors.UnknownBulk,
    errors.BulkError,
    errors.UnknownWebhook,
    errors.WebhookError,
    errors.OverrideError,
    errors.UnknownRelease,
    errors.RunStateError,
    errors.PauseError,
    errors.MaintenanceError,
    errors.CutoverError,
    errors.AuditError,
    errors.AuthError,
    errors.SecretError,
    errors.SchemaError,
    errors.ProjectError,
    CronError,
)

_REQUEST, _DATABASE = "TS801", "TS601"
"""Codes of an invalid request body, and of a database that cannot be used."""


_HINTS = {
    "run_id": "The number of a run: targcc run list shows the numbers.",
}
"""Next step for a wrong value, by the name of its parameter."""


def tell_meant(ctx: click.Context, typed: str, meant: str) -> None:
    """Name the command that runs in place of the typed words, on the error stream."""
    click.echo(f"{ctx.command_path} {typed} is {ctx.command_path} {meant}", err=True)


class CliError(click.ClickException):
    """Error of a command with exit status 2. The message says why and what to do next.

    Args:
        message: The text to print.
        code: Code in the manual, for an error that an exception or a server's answer became; by default the code of the class.
    """

    exit_code = 2
    code = ""

    def __init__(self, message: str, *, code: str = "") -> None:
        super().__init__(message)
        self.code = code or self.code

    def show(self, file: Any = None) -> None:
        """Print the message to stderr, with secrets masked, the code, and where the code is explained."""
        text = f"{self.report()}\n{pointer((self.code,), 'targcc')}"
        click.echo(text, file=file or sys.stderr)

    def report(self) -> str:
        """Return the message with its code, with secrets masked."""
        return f"error[{self.code}]: {visible(mask(self.message), lines=True)}"


class SettingError(CliError):
    """A setting is missing or invalid."""

    code = "TS607"


class NoUserError(CliError):
    """The server would listen to other machines, and no user exists."""

    code = "TS608"


class PortError(CliError):
    """The address and port cannot be listened at."""

    code = "TS609"


class AppError(CliError):
    """The app to serve cannot be imported, or has no scheduler."""

    code = "TS610"


class FeatureError(CliError):
    """The command belongs to a feature that is not installed."""

    code = "TS611"


class DevelopmentDatabaseError(CliError):
    """``targcc dev`` would work on a database that nothing marks as development."""

    code = "TS613"


class UnreachableError(CliError):
    """The server does not answer."""

    code = "TS901"


class CertificateError(CliError):
    """The certificate of the server cannot be trusted or checked."""

    code = "TS902"


class AnswerError(CliError):
    """The answer of the server is not one of this release."""

    code = "TS903"


class ProfileError(CliError):
    """A profile, or the address of a server, is wrong."""

    code = "TS904"


class LocalError(CliError):
    """The command needs the project's database and was sent to a server."""

    code = "TS905"


class ChoiceError(CliError):
    """An option that the command needs is missing, or names nothing that exists."""

    code = "TS906"


class OutputError(CliError):
    """The file to write exists or cannot be written."""

    code = "TS907"


class NotOverError(CliError):
    """The time to wait is up, and what the command waited for goes on."""

    code = "TS908"


class UnknownCodeError(CliError):
    """No error has this code."""

    code = "TS909"


class Commands(click.Group):
    """Group with the features' commands for it. Expected errors of commands are messages, without a traceback."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of commands, in alphabetical order."""
        return sorted([*super().list_commands(ctx), *self.of_features()])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command; ``None`` for an unknown name."""
        own = super().get_command(ctx, cmd_name)
        if own is not None:
            return own
        feature, part = self.of_features().get(cmd_name, (None, None))
        if feature is None or part is None:
            return None
        return cast("click.Command", feature.load(part))

    @property
    def prefix(self) -> str:
        """Return what the names of the features' commands in this group begin with."""
        return f"{self.name} "

    def of_features(self) -> dict[str, tuple[Feature, CommandPart]]:
        """Map the names of the features' commands in this group to their parts."""
        from ..kernel.feature import Commands as CommandPart
        from ..kernel.feature import parts

        return {
            part.name.removeprefix(self.prefix): (feature, part)
            for feature, part in parts(CommandPart)
            if part.name.startswith(self.prefix) and " " not in part.name.removeprefix(self.prefix)
        }

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command for the arguments. A word for a command, such as ``ls`` for ``list``, runs the command and names it.

        Raises:
            CliError: the command belongs to a feature that is not installed.
        """
        if args and not ctx.resilient_parsing and self.get_command(ctx, args[0]) is None:
            from ..kernel.feature import Commands as CommandPart
            from ..kernel.feature import left_out

            args = self.meant(ctx, args)
            name = self.prefix + args[0]
            for feature in left_out():
                if any(
                    isinstance(part, CommandPart) and part.name == name for part in feature.parts
                ):
                    raise FeatureError(
                        f"targcc {name} comes with the feature {feature.name}, which is not installed"
                    )
            if self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
                ctx.fail(self.unknown(ctx, args[0]))
        return super().resolve_command(ctx, args)

    def meant(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Return the arguments with the name of the command that an unknown first word stands for; unchanged if there is none."""
        from ..core.command_words import same_command

        name = same_command(args[0], self.list_commands(ctx))
        if name is None:
            return args
        tell_meant(ctx, args[0], name)
        return [name, *args[1:]]

    def unknown(self, ctx: click.Context, word: str) -> str:
        """Return the message for a word that is no command of this group."""
        from ..core.command_words import did_you_mean

        names = self.list_commands(ctx)
        near = did_you_mean(word, names) or f": {', '.join(names)}"
        return f"{ctx.command_path} has no command {word!r}{near}"

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command.

        Raises:
            CliError: the command failed with an expected error.
        """
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            if ctx.parent is None:
                from ..core.command_words import with_way_out

                error.message = with_way_out(  # type: ignore[misc]  # final for those who catch it
                    error, _HINTS
                )
            raise
        except Exception as error:
            message = _in_words(error)
            if message is None:
                raise
            raise CliError(message, code=_code(error)) from error


def _code(error: Exception) -> str:
    """Return the code of an expected error: the code of its class, else of a request or of the database."""
    return code_of(error) or (_REQUEST if type(error).__name__ == "ValidationError" else _DATABASE)


def _in_words(error: Exception) -> str | None:
    """Return the message for an expected error; ``None`` for any other error."""
    if isinstance(error, errors.UnknownJob):
        return f"{error}\n  targcc job list shows what there is"
    if isinstance(error, errors.ArgumentsError):
        return f"the arguments do not fit: {'; '.join(str(error).splitlines())}"
    if isinstance(error, errors.QueryTimeout):
        return f"{error}: ask for less, or set TARGCC_QUERY_SECONDS"
    if isinstance(error, SearchError):
        return f"the search cannot be understood {error}\n{error.frame}"
    if isinstance(error, _SHOWN_AS_THEY_ARE):
        return str(error)
    message = _body_error(error) if "pydantic" in sys.modules else None
    return message or (_database_error(error) if "sqlalchemy" in sys.modules else None)


def _body_error(error: Exception) -> str | None:
    """Return the message for an invalid request body built from options. Models of bodies have names that end with ``In``."""
    from pydantic import ValidationError

    if not isinstance(error, ValidationError) or not error.title.endswith("In"):
        return None
    problems = error.errors(include_url=False, include_input=False, include_context=False)
    return "; ".join(
        f"{'.'.join(map(str, problem['loc']))}: {problem['msg'].removeprefix('Value error, ')}"
        for problem in problems
    )


def _database_error(error: Exception) -> str | None:
    import sqlalchemy as sa

    from ..core.masking import mask
    from ..settings import Settings

    if isinstance(error, sa.exc.DBAPIError):
        reason = mask(str(error.orig).strip().splitlines()[0])
        return (
            f"the database {Settings().shown_database_url} cannot be used: {reason}\n"
            "  TARGCC_DATABASE_URL says where it is."
        )
    if isinstance(error, sa.exc.SQLAlchemyError):
        return f"the database cannot be used: {error}"
    return None
