"""Jobs with hooks, and what the hooks say; a node in a process of its own says it in the file that ``NOTES`` names."""
