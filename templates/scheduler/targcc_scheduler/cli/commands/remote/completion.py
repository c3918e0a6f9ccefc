"""``targcc completion``: names completed by the shell."""

from __future__ import annotations

import os
from pathlib import Path

import click
from click.shell_completion import get_completion_class

from ...group import CliError

_SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(_SHELLS))
@click.option("--install", is_flag=True, help="Put the script where the shell looks for it.")
def completion(shell: str, *, install: bool) -> None:
    """Print the script that lets a shell complete commands, and names of jobs, flows, queues, states, servers and profiles.

    \b
    Example:
      targcc completion bash --install
      source <(targcc completion bash)
    """
    script = _script(shell)
    if not install:
        click.echo(script)
        return
    file, advice = _place(shell)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(script, encoding="utf-8", newline="\n")
    except OSError as error:
        raise CliError(f"{file} cannot be written: {error.strerror}") from None
    click.echo(f"{file} is written; {advice}")


def _script(shell: str) -> str:
    found = get_completion_class(shell)
    assert found is not None
    root = click.get_current_context().find_root().command
    made = found(root, {}, "targcc", "_TARGCC_COMPLETE")
    return made.source_template % made.source_vars()


def _place(shell: str) -> tuple[Path, str]:
    """Where a shell looks for the script of a command, and what is left to do."""
    home = Path.home()
    data = Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share")
    config = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
    if shell == "bash":
        place = data / "bash-completion" / "completions" / "targcc"
        return place, "a new shell has it, if the package bash-completion is installed"
    if shell == "fish":
        return config / "fish" / "completions" / "targcc.fish", "a new shell has it"
    return (
        data / "zsh" / "site-functions" / "_targcc",
        f"put `fpath+=({data}/zsh/site-functions)` before compinit in ~/.zshrc",
    )
