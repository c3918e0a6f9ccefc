"""Fixtures for all scheduler tests; a folder's own conftest may override them."""

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
