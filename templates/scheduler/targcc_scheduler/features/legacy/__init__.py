"""Jobs in the old server's tables, and the cut-over from it."""
