# Managed by targcc-gen: regenerate merges your edits; `targcc-gen eject PATH` makes the file yours.
"""``python -m <package>.scheduler.cli``."""

from . import main

main(prog_name="targcc")
