"""The command line of a project, where its own script `targcc` is not installed: `python -m targcc_scheduler --project <package>`."""

import sys
from importlib import import_module

from .cli.main import main

_PROJECT = "--project"


def run(arguments: list[str]) -> None:
    """Run the command line; `--project PACKAGE` before all others imports the project, which says what it is called."""
    if arguments[:1] == [_PROJECT] and len(arguments) > 1:
        import_module(f"{arguments[1]}.scheduler")
        arguments = arguments[2:]
    main(args=arguments, prog_name="targcc")


if __name__ == "__main__":
    run(sys.argv[1:])
