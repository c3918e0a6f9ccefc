"""Fixtures for the security tests."""

from web_fixtures import (
    _apart,
    busy_site,
    database_url,
    settings,
    short_streams,
    site,
)
