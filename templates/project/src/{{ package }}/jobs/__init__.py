"""The jobs, one per file. The scheduler finds every class or function with ``@job`` in this folder."""
