# Managed by targcc-gen: regenerate merges edits; `targcc-gen eject PATH` makes it yours
"""The command line of the scheduler: `python -m golden_jobs` is `targcc`."""

from golden_jobs.scheduler import main

if __name__ == "__main__":
    main(prog_name="targcc")
