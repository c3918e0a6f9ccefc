"""The web frame: router, authentication, API and dashboard."""
