"""Engines: make runs claimable and wake workers."""
