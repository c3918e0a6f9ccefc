"""Write the manual's pages of commands from the click commands. ``docs/references.py`` writes the pages at each build of the manual."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import NamedTuple

import click

_GENERATOR = """\
# Commands: `targcc-gen`

Every command that writes takes `--dry-run` (show the changes without writing), `--diff` (show the changes as a diff) and `--json` (print the plan for programs).
A command finds its project from the current folder, or takes `--project DIR`.

| exit status | |
|---|---|
| 0 | done, or nothing to do |
| 1 | `--check` found a difference, or a check of `doctor` failed |
| 2 | the input is wrong; nothing was written |
| 3 | your edits and the generator's changes conflict in the same lines; nothing is written until you choose |

Errors go to the standard error stream, with place and remedy. Output is plain text in a pipe, and colours respect `NO_COLOR`.
`targcc-gen --debug COMMAND …` shows the traceback of an error.

Completion: `targcc-gen completion bash --install`, also for zsh and fish. `python -m targcc_gen` is the same program where its script is not on the PATH.

Expected words run the command that they stand for, and name it: `targcc-gen init` is `targcc-gen new`. A misspelt word runs nothing and gets the nearest command.
"""

PROJECT = """\
# Commands: `targcc`

Each generated project has its own command, `targcc`: `uv run targcc …` in the project's folder, or plainly `targcc …` where it is installed.
It runs and manages the jobs. A job's name is accepted in all its forms: `DailyReport`, `DailyReportJob`, `dailyreport`, `"Daily Report"`.
Settings come from environment variables that start with `TARGCC_`, and from `.env`; see [settings](settings.md).

| exit status | |
|---|---|
| 0 | done |
| 1 | the run that was waited for did not succeed |
| 2 | the command failed; the message gives the reason |

The audit records an operator's commands, such as `job run` or `job pause`, as `CLI` with the name of the system's user.

`--server URL` with `--token`, or `--profile NAME`, before the command sends the command to a server; see [from another machine](../remote.md). `--json` prints JSON for programs;
`--watch [SECONDS]` refreshes the output.

Expected words run the command that they stand for, and name it on the error stream: `targcc jobs` and `targcc ls` are `targcc job list`, `targcc run DailyReport` is
`targcc job run DailyReport`, `targcc start` is `targcc serve`. A misspelt word runs nothing and gets the nearest command. Where the script is not on the PATH,
`python -m <package>.scheduler` is the same program.
"""
"""Introduction of the page of `targcc`, the command of each generated project."""


class Command(NamedTuple):
    """A command of a command line.

    Attributes:
        path: The words that call the command: `targcc-gen job`.
        command: The click command.
        context: The click context, for the usage line.
    """

    path: str
    command: click.Command
    context: click.Context


def commands(group: click.Group, name: str) -> Iterator[Command]:
    """Yield every visible command below `group` in the order of the help; a group comes before its commands."""
    # Each group has its own context settings: click keeps the help option of the first context that asked.
    settings = {"terminal_width": 80, **group.context_settings}
    return _below(group, click.Context(group, info_name=name, **settings))


def _below(group: click.Group, context: click.Context) -> Iterator[Command]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None, f"{context.command_path} lists {name} and has it not"
        if command.hidden:
            continue
        inner = click.Context(command, info_name=name, parent=context)
        yield Command(inner.command_path, command, inner)
        if isinstance(command, click.Group):
            yield from _below(command, inner)


def options(command: Command) -> Iterator[tuple[click.Option, str, str]]:
    """Yield each visible option of a command except `--help`: the option, its spelling, its help text."""
    for parameter in command.command.params:
        record = parameter.get_help_record(command.context)
        if isinstance(parameter, click.Option) and record is not None:
            yield parameter, *record


def examples(command: Command) -> list[str]:
    """Return the example command lines in a command's help."""
    return [line for block in _literal(command.command) for line in block]


def _literal(command: click.Command) -> list[list[str]]:
    """Return the preformatted blocks of a help text, without their headings."""
    blocks = [text for text in _paragraphs(command) if text.startswith("\b\n")]
    lines = [[line.strip() for line in block.splitlines()[1:]] for block in blocks]
    return [[line for line in block if not line.endswith(":")] for block in lines]


def _paragraphs(command: click.Command) -> list[str]:
    return inspect.cleandoc(command.help or "").split("\n\n")


def page(group: click.Group, name: str, introduction: str) -> str:
    """Return the page of a whole command line as Markdown."""
    pages = list(commands(group, name))
    listed = [
        f"| [`{entry.path}`](#{_anchor(entry.path)}) | {_cell(entry.command.get_short_help_str(200))} |"
        for entry in pages
    ]
    index = "\n".join(["| command | |", "|---|---|", *listed])
    return (
        "\n".join([introduction, index, "", *(_section(entry) for entry in pages)]).rstrip() + "\n"
    )


def _section(command: Command) -> str:
    parts = [
        f"## `{command.path}`",
        *(_prose(text) for text in _paragraphs(command.command) if not text.startswith("\b\n")),
        f"```text\n{command.context.get_usage().removeprefix('Usage: ')}\n```",
        _options(command),
        *(_console(block) for block in _literal(command.command)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _prose(text: str) -> str:
    return " ".join(text.split()).replace("<", "\\<").replace("*", "\\*")


def _options(command: Command) -> str:
    rows = [f"| `{_cell(written)}` | {_cell(does)} |" for _, written, does in options(command)]
    return "\n".join(["| option | |", "|---|---|", *rows]) if rows else ""


def _console(lines: list[str]) -> str:
    return "\n".join(["```console", *(f"$ {line}" for line in lines), "```"])


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _anchor(heading: str) -> str:
    return heading.lower().replace(" ", "-")


def generator_page() -> str:
    """Return the page of `targcc-gen`."""
    from targcc_gen.cli import main

    return page(main, "targcc-gen", _GENERATOR)
