"""Reading the audit, and verifying it."""
