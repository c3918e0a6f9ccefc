# Managed by targcc-gen: regenerate merges your edits; `targcc-gen eject PATH` makes the file yours.
"""The dashboard: pages rendered on the server, kept fresh by htmx, usable without JavaScript."""
