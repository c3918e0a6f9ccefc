"""Messages to webhooks: signed, and sent."""
