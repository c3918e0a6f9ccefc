"""Evidence of the old server's history: the reading of a schedule that its starts support."""
