"""Commands that change a project."""
