"""Import jobs into a project: as its jobs, or as rows that stay in the old table."""
