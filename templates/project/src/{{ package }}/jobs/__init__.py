"""The jobs: one file each. A class or function with ``@job`` in this folder runs, nothing needs to be registered."""
