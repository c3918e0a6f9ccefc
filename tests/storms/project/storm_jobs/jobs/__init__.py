"""The jobs of the project."""
