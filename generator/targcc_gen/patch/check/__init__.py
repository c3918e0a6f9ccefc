"""The patched app, imported in a process of its own."""
