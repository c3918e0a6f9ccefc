"""Run jobs from the old server's tables, and move jobs between the old server and this scheduler."""
