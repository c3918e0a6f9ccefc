"""What a project got once and would never get again: its pyproject.toml follows by key and by requirement, not by line."""
