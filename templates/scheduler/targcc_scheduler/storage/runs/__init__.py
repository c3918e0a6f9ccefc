"""The life of a run: create, stage, claim, settle."""
