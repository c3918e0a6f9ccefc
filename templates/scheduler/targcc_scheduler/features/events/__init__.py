"""Webhooks and event handlers."""
