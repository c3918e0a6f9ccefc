"""Sealing: secret arguments as they are stored, which only a process with the key can read."""
