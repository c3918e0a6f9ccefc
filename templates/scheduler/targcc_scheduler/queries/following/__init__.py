"""Reading what changes: in short queries that are repeated while somebody watches."""
