"""Flows under way and over, for people."""
