"""Two versions of a spec, from two branches, become one: job by job, and key by key."""
