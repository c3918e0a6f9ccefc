"""Fixtures for the host application tests."""

from targcc_scheduler.pytest_plugin import scheduler
from web_fixtures import _apart, database_url, settings
