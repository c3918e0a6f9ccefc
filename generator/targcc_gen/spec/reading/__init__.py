"""YAML becomes a spec: its text with positions, and every problem with its place."""
