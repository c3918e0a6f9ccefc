"""Command line of this project."""

from projects import WEB
from targcc_scheduler import configure, main

if __name__ == "__main__":
    configure(WEB)
    main(prog_name="targcc")
