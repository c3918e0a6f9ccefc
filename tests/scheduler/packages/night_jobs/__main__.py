"""Command line of this project."""

from projects import NIGHT
from targcc_scheduler import configure, main

if __name__ == "__main__":
    configure(NIGHT)
    main(prog_name="targcc")
