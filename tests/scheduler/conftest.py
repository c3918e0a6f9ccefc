"""What the tests of every room get, unless its own conftest says otherwise."""

import compiled_once
from runtime_fixtures import (
    database,
    empty_database,
    make_scheduler,
    not_started,
    notes,
    scheduler,
    settings,
    start_node,
)

compiled_once.install()
