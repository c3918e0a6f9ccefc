"""The jobs that start the flows of a project."""
