"""The life of a run: create, claim, execute, settle."""
