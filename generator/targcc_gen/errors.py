"""Errors that users see. An error carries its exit status and its code; a traceback needs `--debug`.

A code, such as `TG201`, belongs to a class and keeps its meaning over releases. `error_codes.toml` explains each code: `targcc-gen explain TG201`
prints the text, and the manual lists all texts. An error without a code of its own cannot be raised: raise a class of this module that fits,
or add a class with the next free code of its group.
"""

from __future__ import annotations


class TargccError(Exception):
    """A request is invalid; nothing was written.

    Args:
        message: The problem and its place, in one or several lines.
        hint: The next step, if any.
    """

    exit_status = 2
    code = ""
    """Code in the manual; empty for a class that is only a base."""

    kind = "error"
    """Kind of the error for programs: `code` in the output of `--json`. The value is stable."""

    prefix = "error: "
    """Text before the message on the command line; empty for a message that reads as an error by itself."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    @property
    def codes(self) -> tuple[str, ...]:
        """The codes to look up, in the order of the message, each once."""
        return (self.code,) if self.code else ()

    def report(self) -> str:
        """Return the message as printed, with the code in its first line."""
        if self.prefix:
            return f"error[{self.code}]: {self.message}"
        return self.message.replace(": error: ", f": error[{self.code}]: ", 1)


class InputError(TargccError):
    """An argument, a spec or an export is wrong (exit status 2)."""

    kind = "input"


class CheckFailed(TargccError):  # noqa: N818 - a finding, not a fault
    """`--check` found a difference (exit status 1)."""

    exit_status = 1
    code = "TG212"
    kind = "difference"


class ConflictError(TargccError):
    """A person has to decide before anything is written (exit status 3)."""

    exit_status = 3
    code = "TG206"
    kind = "conflict"


USAGE = "TG001"
"""Code of a command line that click refuses: an unknown option, a missing argument."""
INTERNAL = "TG002"
"""Code of an unexpected exception."""


class OptionError(InputError):
    """The value of an option or argument is wrong."""

    code = "TG003"


class UnknownCodeError(InputError):
    """No error has this code."""

    code = "TG004"


# TG1xx: the spec. Errors with a position are in `targcc_gen.spec.errors`.


class SpecFileError(InputError):
    """The spec cannot be read."""

    code = "TG109"


class SpecEditError(InputError):
    """A command cannot make its change in `targcc.yaml`."""

    code = "TG110"


class UnknownKeyError(InputError):
    """The spec has no key or environment of this name."""

    code = "TG113"


class SpecValueError(InputError):
    """The options given on the command line make no valid spec."""

    code = "TG114"


# TG2xx: the project and its files.


class NoProjectError(InputError):
    """Neither the folder nor a folder above it is a project."""

    code = "TG201"


class FolderTakenError(InputError):
    """The place of a new project is taken."""

    code = "TG202"


class NewerProjectError(InputError):
    """A newer targcc-gen wrote the project."""

    code = "TG203"


class DamagedError(InputError):
    """A file that targcc-gen keeps in `.targcc/` is damaged."""

    code = "TG204"


class PathError(InputError):
    """The path is not a file of the project that the command can work on."""

    code = "TG205"


class ObstacleError(ConflictError):
    """A file, folder or link is in the way."""

    code = "TG207"


class BusyError(ConflictError):
    """Another targcc-gen writes to the project."""

    code = "TG209"


class RollbackError(TargccError):
    """Writing failed, and undoing it failed too."""

    code = "TG211"


class GitError(InputError):
    """git is missing, or cannot do what the command needs."""

    code = "TG214"


class ForeignJournalError(ConflictError):
    """The journal in `.targcc/` was not left by this user in this folder on this machine."""

    code = "TG215"


# TG3xx: jobs.


class UnknownJobError(InputError):
    """The project has no job of this name."""

    code = "TG301"


class JobTakenError(InputError):
    """The project has a job of this name already."""

    code = "TG302"


class JobNameError(InputError):
    """The text is no name of a job or project."""

    code = "TG303"


class JobCodeError(InputError):
    """The code of a job cannot be read back into the spec."""

    code = "TG304"


class ScheduleError(InputError):
    """The schedule cannot be read."""

    code = "TG305"


# TG4xx: blueprints.


class UnknownBlueprintError(InputError):
    """No blueprint has this name."""

    code = "TG401"


class BlueprintError(InputError):
    """A custom blueprint is faulty."""

    code = "TG402"


class BlueprintFetchError(InputError):
    """A repository of blueprints cannot be fetched."""

    code = "TG403"


# TG5xx: the import of old jobs.


class ExportError(InputError):
    """The export cannot be read."""

    code = "TG501"


class NoTableError(InputError):
    """The export or database holds no table of jobs that the import knows."""

    code = "TG502"


class OldDatabaseError(InputError):
    """The old database cannot be read."""

    code = "TG504"


class ZoneError(InputError):
    """The time zone of the old server is missing or unknown."""

    code = "TG505"


class ProceduresError(InputError):
    """The file that maps codes to stored procedures is wrong."""

    code = "TG506"


class ImportMismatchError(InputError):
    """The import does not fit the project or its earlier import."""

    code = "TG507"


class ReportError(InputError):
    """The report of the import cannot be written."""

    code = "TG510"


class CountError(InputError):
    """The rows that were read and the rows that came out differ in number."""

    code = "TG511"


# TG6xx: `patch`. More are in `targcc_gen.patch`.


class AppChoiceError(InputError):
    """`patch` cannot tell which app to use."""

    code = "TG602"


class TrialError(InputError):
    """The app does not start with the scheduler, or its Python cannot run."""

    code = "TG605"


class LayoutError(InputError):
    """The project's layout does not allow the patch."""

    code = "TG606"


class FitError(InputError):
    """The project's requirements exclude every version that the scheduler needs."""

    code = "TG607"
