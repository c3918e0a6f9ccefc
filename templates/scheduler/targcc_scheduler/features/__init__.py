"""Features beside the life of a run; each folder is one feature."""
