"""What the tests of this room get."""

from hybrid_rig import old_options, settings_of, start
from runtime_fixtures import (
    database,
    empty_database,
    make_scheduler,
    notes,
    scheduler,
    settings,
    start_node,
)
