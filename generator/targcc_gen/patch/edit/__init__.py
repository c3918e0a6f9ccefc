"""Our lines into a file, and out of it again."""
