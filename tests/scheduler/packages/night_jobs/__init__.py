"""The jobs of a bad night."""
