"""The API of what happens: streams of events, whole logs, webhooks."""
