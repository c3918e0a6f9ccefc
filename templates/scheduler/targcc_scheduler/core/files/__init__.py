"""Files that are their owner's alone."""
