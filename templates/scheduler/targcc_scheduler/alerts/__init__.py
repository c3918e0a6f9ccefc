"""Telling people about runs: by mail, Slack and Teams."""
