"""Rows of runs: create, stage, claim, settle, history, retention."""
