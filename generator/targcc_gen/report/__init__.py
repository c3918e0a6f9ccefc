"""What an import came to: a document for the people who decide, a summary for the terminal."""
