"""PostgreSQL text index: an array of small integers for each run, with a GIN index. Needs no extension.

``pg_trgm`` would do the same where the extension may be installed, but would store the texts twice.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection

from ..tables import job_run
from .text_index import Clause, grams, own_number, together

_FEW = 4
_LEAST, _NUMBERS, _OWN = -0x8000, 0x10000, 0x100
_TEXT = sa.table("c_jobtext", sa.column("runid"), sa.column("grams", ARRAY(sa.SmallInteger)))
_WRITE = sa.text("""
    INSERT INTO c_JobText (RunId, Grams)
    SELECT run_id, CAST(grams AS smallint[])
    FROM json_to_recordset(CAST(:rows AS json)) AS given (run_id bigint, grams text)
    ON CONFLICT (RunId) DO UPDATE SET Grams = excluded.Grams
""")
_REMOVE = sa.text("DELETE FROM c_JobText WHERE RunId = ANY (:run_ids)")


class PostgreSQLTexts:
    """PostgreSQL implementation of :class:`.index.TextIndex`."""

    async def is_there(self, connection: AsyncConnection) -> bool:
        """Return ``True``: every PostgreSQL database has the index."""
        del connection
        return True

    async def write(self, connection: AsyncConnection, texts: Mapping[int, str | None]) -> None:
        """Upsert all texts in one statement."""
        if gone := [one for one, text in texts.items() if text is None]:
            await connection.execute(_REMOVE, {"run_ids": gone})
        rows = [
            {"run_id": one, "grams": _array(numbers(text))}
            for one, text in sorted(texts.items())
            if text is not None
        ]
        if rows:
            await connection.execute(_WRITE, {"rows": json.dumps(rows)})

    def find(
        self, clauses: Sequence[Clause], where: sa.ColumnElement[bool], limit: int, below: int
    ) -> sa.Select[Any]:
        """Query the index first, then compare run by run. A plan that begins with the runs may read all of them."""
        fits = [_any(one) for one in clauses if _is_wide(one)]
        sets = together([one for one in clauses if not _is_wide(one)])
        if sets:
            fits.append(sa.or_(*(_TEXT.c.grams.contains(_numbers(one)) for one in sets)))
        index = sa.select(_TEXT.c.runid).where(*fits, _TEXT.c.runid < below)
        named = index.cte("named").prefix_with("MATERIALIZED")
        newest = sa.select(named.c.runid).order_by(named.c.runid.desc()).subquery("newest")
        same = sa.select(job_run).where(job_run.c.Id == newest.c.runid, where)
        run = same.offset(0).lateral("run")  # OFFSET 0 keeps the planner from merging the subquery
        both = newest.join(run, sa.true())
        return sa.select(run).select_from(both).order_by(newest.c.runid.desc()).limit(limit)


def _array(values: list[int]) -> str:
    return f"{{{','.join(map(str, values))}}}"


def numbers(text: str) -> list[int]:
    """Return the grams of a text as sorted 16-bit numbers. Two grams may share a number."""
    return sorted({_number(gram) for gram in grams(text)})


def _number(gram: str) -> int:
    """Return a gram's checksum as a 16-bit number. A gram that forms a set alone has a reserved number."""
    own = own_number(gram)
    if own is not None:
        return _LEAST + own
    return _LEAST + _OWN + zlib.crc32(gram.encode("utf-8", "surrogatepass")) % (_NUMBERS - _OWN)


def _is_wide(clause: Clause) -> bool:
    """Return whether a clause is an alternative of many single grams, such as all longer duration classes."""
    return len(clause) > _FEW and all(len(one) == 1 for one in clause)


def _any(clause: Clause) -> sa.ColumnElement[bool]:
    found: sa.ColumnElement[bool] = _TEXT.c.grams.overlap(_numbers(frozenset().union(*clause)))
    return found


def _numbers(wanted: frozenset[str]) -> sa.BindParameter[list[int]]:
    return sa.literal(sorted(map(_number, wanted)), ARRAY(sa.SmallInteger))
