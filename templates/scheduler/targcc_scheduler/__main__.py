"""The command line of a project, as `python -m <package>.scheduler`."""

from .cli.main import main

if __name__ == "__main__":
    main(prog_name="targcc")
