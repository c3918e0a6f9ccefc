"""What the tests of this room get."""

import pytest
from web_fixtures import (
    _apart,
    busy_site,
    database_url,
    settings,
    site,
)
