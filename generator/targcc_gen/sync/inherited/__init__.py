"""What a project would get only once: its pyproject.toml follows by key and by requirement, not by line."""
