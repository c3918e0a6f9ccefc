"""Blueprints from git repositories come into the project, where they are read."""
