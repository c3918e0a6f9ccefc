"""Whether the tables are those of this release."""

from __future__ import annotations

import sqlalchemy as sa

from ..core.errors import SchemaError
from ..core.version import __version__
from ..migrations.upgrade import current_revision, head_revision, known_revisions, refuse_newer
from .findings import Finding


def schema(connection: sa.Connection, *, migrates: bool) -> Finding:
    """What is to say about the tables.

    Args:
        connection: The database.
        migrates: Whether a process brings the tables up to date when it starts.
    """
    found, head = current_revision(connection), head_revision()
    if found == head:
        return Finding("ok", "tables", f"the tables are at revision {head}")
    if found is None or found in known_revisions():
        state = f"at revision {found}, older than" if found else "not there yet, for"
        said = f"the tables are {state} this release, {__version__} ({head})"
        if migrates:
            advice = "the next process that starts brings them there, or: targcc migrate"
            return Finding("warn", "tables", said, advice)
        return Finding("fail", "tables", said, "bring them there: targcc migrate")
    try:
        refuse_newer(connection)
    except SchemaError as error:
        return Finding("fail", "tables", str(error))
    said = f"the tables are at revision {found}, of a newer release; this one, {__version__}, works with them"
    return Finding("warn", "tables", said, "finish the deployment of the newer release")
