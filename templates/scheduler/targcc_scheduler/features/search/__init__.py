"""The search language and the index of texts."""
