"""The checks of a SQL Server: version, options, durability of commits, rights, write access."""

from __future__ import annotations

import asyncio

from sqlalchemy.ext.asyncio import AsyncConnection

from ...db import locks
from ...db.dialects import mssql_requirements
from .databases import write_server
from .findings import Check, Finding


async def check_mssql(connection: AsyncConnection) -> list[Finding]:
    """Check version, options and the durability of commits."""
    name, lossy = await connection.run_sync(mssql_requirements.durability)
    unfit = await connection.run_sync(mssql_requirements.unfit_options)
    findings = [Finding("fail", "server", item.message, item.advice) for item in unfit]
    if lossy is not None:
        findings.append(Finding("warn", "server", lossy.message, lossy.advice))
    if not unfit:
        findings.append(Finding("ok", "server", name))
    return findings


async def write_mssql(connection: AsyncConnection) -> list[Finding]:
    """Check this user's rights on the tables. If none is missing, write a row and roll back."""
    missing = await connection.run_sync(mssql_requirements.missing_rights)
    if missing:
        return [Finding("fail", "rights", item.message, item.advice) for item in missing]
    wait = f"SET LOCK_TIMEOUT {int(locks.SHORT * 1000) or 1}"
    return await asyncio.to_thread(write_server, connection.engine.url, wait)


SERVER_CHECKS: dict[str, Check] = {"server": check_mssql}
"""Checks that need no table of the scheduler."""
TABLE_CHECKS: dict[str, Check] = {"write": write_mssql}
"""Checks of the scheduler's tables."""
