"""The jobs, one per file. The scheduler finds each class or function with ``@job``."""
