"""Command line of a project: `targcc`."""
