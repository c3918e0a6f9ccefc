"""A project of jobs that say in a file what they do."""
