"""Project whose jobs record their work in a file."""
