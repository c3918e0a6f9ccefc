"""What the API's answers look like."""
