"""The jobs of the web tests."""
