"""The jobs of the night."""
