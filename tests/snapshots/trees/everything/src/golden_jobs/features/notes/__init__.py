"""The feature notes."""
