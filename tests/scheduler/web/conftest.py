"""Fixtures for the web tests."""

from alert_sinks import slack
from web_fixtures import (
    _apart,
    busy_site,
    database_url,
    settings,
    short_streams,
    site,
)
