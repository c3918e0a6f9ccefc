"""The audit: a chain of hashes over what people and programs did."""
