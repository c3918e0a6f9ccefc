"""What the tests of this room get."""

import pytest
from web_fixtures import (
    _apart,
    busy_site,
    database_url,
    settings,
    site,
)


@pytest.fixture
def migrated_url(migrated_in_any_form_url: str) -> str:
    """A history by month too."""
    return migrated_in_any_form_url
