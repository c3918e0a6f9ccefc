"""What needs a person: why runs failed, and what people did about it."""
