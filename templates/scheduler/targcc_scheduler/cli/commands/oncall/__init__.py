"""The commands of whoever is on call."""
