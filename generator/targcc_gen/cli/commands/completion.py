"""`targcc-gen completion`: print or install the completion script of a shell."""

from __future__ import annotations

import click


@click.command(short_help="Print the shell completion script.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.option("--install", is_flag=True, help="Install the script for the shell.")
def completion(shell: str, *, install: bool) -> None:
    """Print the shell completion script. It completes commands, options, and the names of jobs and blueprints.

    \b
    Example:
      targcc-gen completion bash --install
      source <(targcc-gen completion bash)
    """
    from targcc_scheduler.core import completion_scripts

    from targcc_gen.errors import OptionError

    root = click.get_current_context().find_root().command
    try:
        click.echo(completion_scripts.completion(root, "targcc-gen", shell, install=install))
    except OSError as error:
        raise OptionError(
            f"{error.filename} cannot be written: {error.strerror}",
            hint="Without --install the script is printed; save it where the shell looks.",
        ) from None
