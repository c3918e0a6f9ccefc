"""Commands about what happens: runs that are followed, webhooks."""
