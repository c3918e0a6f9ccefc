"""A run from state to state: create, stage, claim, settle."""
