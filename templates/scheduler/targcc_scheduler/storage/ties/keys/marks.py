"""What stands in the column ``LimitKey`` of a run that asks for its keys, until it has them.

No limit key begins so, as these begin with the name of a job: no claim takes such a run, and no limit counts it.
"""

from __future__ import annotations

import sqlalchemy as sa

from ...tables import job_run

ASKS = "\x1e"
"""The run asks for its keys once it is due."""
IS_LIMIT = sa.func.substr(job_run.c.LimitKey, 1, 1) != sa.literal_column(f"'{ASKS}'")
"""That a run has the key of a limit."""


def has_its_keys(run: sa.FromClause = job_run) -> sa.ColumnElement[bool]:
    """That a run does not ask for its keys: it has none, or has them."""
    begins = sa.func.substr(run.c.LimitKey, 1, 1)
    return sa.or_(run.c.LimitKey.is_(None), begins != sa.literal_column(f"'{ASKS}'"))


def waits_for(unique_key: str) -> str:
    """What stands there while the run waits for this unique key: the index of limits finds those that wait for one, the most urgent first."""
    return ASKS + unique_key


def is_mark(limit_key: str | None) -> bool:
    """Whether it is no key of a limit, but what stands there instead."""
    return limit_key is not None and limit_key.startswith(ASKS)
