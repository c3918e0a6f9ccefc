"""From a spec to a tree of files, in memory."""
