"""A database becomes rows: one read-only transaction, in a thread that may be left behind when the server stops answering."""
