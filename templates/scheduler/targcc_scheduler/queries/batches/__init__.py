"""Batches under way and over, for people."""
