"""What the tests of this room get."""

from live_rig import address, browse_site
from web_fixtures import _apart, busy_site, database_url, settings, site
