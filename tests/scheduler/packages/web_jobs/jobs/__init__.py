"""Jobs of the web tests."""
