"""The audit as a chain of hashes."""
