"""What the server of a project loads, and where that is made."""
