"""Batches: runs that are created together, counted together, and followed by what is to come after all of them."""
