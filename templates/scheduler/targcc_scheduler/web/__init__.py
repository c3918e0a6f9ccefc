"""The scheduler as part of a web app."""
