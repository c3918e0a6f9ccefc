"""Which runs the index of texts has not seen yet, and the searches that people keep."""

from __future__ import annotations

import sqlalchemy as sa

from .columns import column as _column
from .columns import table as _table
from .columns import text as _text

job_text_due = _table(
    "c_JobTextDue",
    _column(
        "RunId",
        sa.BigInteger().with_variant(sa.Integer, "sqlite"),
        primary_key=True,
        autoincrement=False,
    ),
)
"""The runs that are over, or gone, and which the index does not know as such yet: triggers write them here, whoever changes a run."""

job_view = _table(
    "c_JobView",
    _column("Person", _text(100), primary_key=True),
    _column("Name", _text(100), primary_key=True),
    _column("Search", _text(2000), nullable=False),
)
"""The searches that people keep, each under a name."""
