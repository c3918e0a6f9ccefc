"""What the tests of this room get."""

from runtime_fixtures import (
    database,
    empty_database,
    make_scheduler,
    notes,
    scheduler,
    settings,
    start_node,
)
