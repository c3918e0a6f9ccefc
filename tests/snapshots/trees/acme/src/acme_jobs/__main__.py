# Managed by targcc-gen: regenerate merges edits; `targcc-gen eject PATH` makes it yours
"""The command line of the scheduler: `python -m acme_jobs` is `targcc`."""

from acme_jobs.scheduler import main

if __name__ == "__main__":
    main(prog_name="targcc")
