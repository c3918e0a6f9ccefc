"""Job file that fails to import."""

from web_jobs.no_such_module import nothing  # noqa
