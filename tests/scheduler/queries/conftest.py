"""Fixtures for the query tests."""

import pytest
from web_fixtures import (
    _apart,
    busy_site,
    database_url,
    settings,
    site,
)
