"""What the tests of this room get."""

from web_fixtures import _apart, database_url, settings, site
