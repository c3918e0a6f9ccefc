"""Web side: router, authentication, REST API and dashboard."""
