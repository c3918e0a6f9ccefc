"""Fixtures for the audit tests."""

from web_fixtures import (
    _apart,
    busy_site,
    database_url,
    settings,
    site,
)
