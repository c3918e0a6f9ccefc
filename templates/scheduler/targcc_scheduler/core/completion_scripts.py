"""Shell completion scripts of the two programs, and the places where shells look for a script."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import click

SHELLS = ("bash", "zsh", "fish")
"""Shells that a script exists for."""


def completion(command: click.Command, program: str, shell: str, *, install: bool) -> str:
    """Return the completion script of a program, or write the script and return what is left to do.

    Raises:
        OSError: The file cannot be written.
    """
    text = script(command, program, shell)
    return install_script(text, program, shell) if install else text


def script(command: click.Command, program: str, shell: str) -> str:
    """Return the completion script of a program for a shell."""
    from click.shell_completion import get_completion_class

    completion_class = get_completion_class(shell)
    assert completion_class is not None
    variable = f"_{program.replace('-', '_').upper()}_COMPLETE"
    made = completion_class(command, {}, program, variable)
    return made.source_template % made.source_vars()


def install_script(text: str, program: str, shell: str) -> str:
    """Write a script to the place where a shell looks for it.

    Returns:
        The place, and the step left to the user.

    Raises:
        OSError: The file cannot be written.
    """
    file, advice = _place(program, shell)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8", newline="\n")
    return f"{file} is written; {advice}"


def _place(program: str, shell: str) -> tuple[Path, str]:
    """Return the path at which a shell looks for a completion script, and the step left to the user."""
    home = Path.home()
    data = Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share")
    config = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
    if shell == "bash":
        place = data / "bash-completion" / "completions" / program
        return place, "a new shell has it, if the package bash-completion is installed"
    if shell == "fish":
        return config / "fish" / "completions" / f"{program}.fish", "a new shell has it"
    return (
        data / "zsh" / "site-functions" / f"_{program}",
        f"put `fpath+=({data}/zsh/site-functions)` before compinit in ~/.zshrc",
    )
