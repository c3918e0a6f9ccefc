"""targcc-gen renders complete, runnable job-scheduler projects and keeps them up to date."""

__version__ = "0.2.0"
