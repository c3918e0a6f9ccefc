"""Report on an import: a document for those who decide, a summary for the terminal."""
