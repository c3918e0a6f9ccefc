"""Jobs with hooks that record events; a node in a separate process writes the record to the file that ``NOTES`` names."""
