"""Commands that make a project."""
