"""How commands reach the REST API: in this process, or at a server."""
