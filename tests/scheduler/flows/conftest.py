"""Fixtures for the flow tests."""

from web_fixtures import _apart, database_url, settings, site
