"""Overrides: options of a deployed job that an operator has changed."""
