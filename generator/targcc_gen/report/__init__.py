"""Report on an import: a document for the cut-over's decision makers, a summary for the terminal."""
