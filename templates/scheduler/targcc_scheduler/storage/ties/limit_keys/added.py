"""Keys of limits that are new, where others write too: made and held in one statement, with those that are there and that nobody else holds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...dialects.frequent import FrequentStatement

_HOLD = FrequentStatement(
    sa.text("""
    WITH given AS MATERIALIZED (
        SELECT * FROM json_populate_recordset(NULL::c_JobLimit, CAST(:rows AS json))
    ), added AS (
        INSERT INTO c_JobLimit (LimitKey, JobName, Most, IntervalMs, Burst, UpdatedAt)
        SELECT LimitKey, JobName, Most, IntervalMs, Burst, UpdatedAt FROM given
        WHERE NOT EXISTS (SELECT FROM c_JobLimit AS there WHERE there.LimitKey = given.LimitKey)
        ORDER BY LimitKey
        ON CONFLICT DO NOTHING
        RETURNING LimitKey
    ), free AS (
        SELECT LimitKey FROM c_JobLimit
        WHERE LimitKey = ANY (ARRAY(SELECT LimitKey FROM given))
        ORDER BY LimitKey
        FOR UPDATE SKIP LOCKED
    )
    SELECT LimitKey, true AS is_new FROM added UNION ALL SELECT LimitKey, false FROM free
    """)
    .bindparams(sa.bindparam("rows", type_=sa.Text))
    .columns(sa.column("LimitKey", sa.Text), sa.column("is_new", sa.Boolean))
)


async def hold(connection: AsyncConnection, rows: Sequence[Mapping[str, Any]]) -> dict[str, bool]:
    """Hold keys until the transaction ends; on PostgreSQL.

    Args:
        connection: A transaction that writes.
        rows: A row of each key, for those that are new.

    Returns:
        Those that are held, and whether each is new; others somebody else holds.
    """
    given = [
        {name.lower(): value for name, value in row.items()}
        | {"updatedat": row["UpdatedAt"].isoformat()}
        for row in rows
    ]
    found = await _HOLD.all(connection, {"rows": json.dumps(given)})
    return {row.LimitKey: row.is_new for row in found}
