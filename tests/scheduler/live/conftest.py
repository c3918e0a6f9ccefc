"""Fixtures for the live event tests."""

from live_rig import address, browse_site
from web_fixtures import _apart, busy_site, database_url, settings, site
