"""The job scheduler of a project made by targcc-gen."""
