"""SQL statements for users, sessions, API tokens and custom roles.

The rules for names, passwords and roles are in ``users``, ``passwords`` and ``roles``.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...db.dialects.frequent import changed
from ...db.tables import job_role, job_session, job_token, job_user

Row = Any
"""A database row with its columns as attributes."""


async def add_user(
    connection: AsyncConnection, name: str, *, password_hash: str, role: str, now: datetime
) -> None:
    """Add a row of ``c_JobUser``."""
    values = {"Name": name, "PasswordHash": password_hash, "Role": role, "CreatedAt": now}
    await connection.execute(job_user.insert().values(values))


async def find_user(connection: AsyncConnection, name: str) -> Row | None:
    """Return the row of a user; the name matches in any case."""
    wanted = sa.select(job_user).where(sa.func.lower(job_user.c.Name) == name.lower())
    return (await connection.execute(wanted)).first()


async def users(connection: AsyncConnection) -> list[Row]:
    """Return the rows of all users, ordered by name."""
    return list(await connection.execute(sa.select(job_user).order_by(job_user.c.Name)))


async def has_users(connection: AsyncConnection) -> bool:
    """Return whether any user exists."""
    return (await connection.execute(sa.select(job_user.c.Name).limit(1))).first() is not None


async def change_password(connection: AsyncConnection, name: str, password_hash: str) -> bool:
    """Store a new password hash for a user; return whether the user exists."""
    change = job_user.update().where(job_user.c.Name == name).values(PasswordHash=password_hash)
    return await changed(connection, change) == 1


async def remove_user(connection: AsyncConnection, name: str) -> bool:
    """Remove a user; return whether the user existed."""
    return await changed(connection, job_user.delete().where(job_user.c.Name == name)) == 1


async def change_role(connection: AsyncConnection, name: str, role: str) -> bool:
    """Change the role of a user and of the user's sessions; return whether the user exists."""
    change = job_user.update().where(job_user.c.Name == name).values(Role=role)
    if await changed(connection, change) != 1:
        return False
    condition = job_session.c.UserName == name
    await connection.execute(job_session.update().where(condition).values(Role=role))
    return True


async def lock_admins(connection: AsyncConnection) -> list[str]:
    """Lock the rows of the users with the role admin in the order of their names, and return the names."""
    c = job_user.c
    wanted = sa.select(c.Name).where(c.Role == "admin").order_by(c.Name).with_for_update()
    return list(await connection.scalars(wanted))


async def note_login(connection: AsyncConnection, name: str, now: datetime) -> None:
    """Store the time of a user's last sign-in."""
    change = job_user.update().where(job_user.c.Name == name).values(LastLoginAt=now)
    await connection.execute(change)


async def add_session(
    connection: AsyncConnection,
    digest: str,
    *,
    name: str,
    role: str,
    csrf: str,
    now: datetime,
    expires_at: datetime,
    device: str,
    address: str,
) -> None:
    """Insert a session, and delete expired sessions."""
    await connection.execute(job_session.delete().where(job_session.c.ExpiresAt <= now))
    values = {
        "TokenHash": digest,
        "UserName": name,
        "Role": role,
        "CsrfToken": csrf,
        "CreatedAt": now,
        "ExpiresAt": expires_at,
        "Device": device or None,
        "RemoteAddress": address or None,
        "LastSeenAt": now,
    }
    await connection.execute(job_session.insert().values(values))


async def find_session(
    connection: AsyncConnection, digest: str, now: datetime, idle_since: datetime
) -> Row | None:
    """Return the row of an open session.

    The column ``SecondFactor`` says whether the user has a second factor; NULL when the name is not in ``c_JobUser``.
    """
    has_one = sa.case((job_user.c.Name.is_(None), None), else_=job_user.c.TotpSecret.is_not(None))
    wanted = _open_sessions(now, idle_since).where(job_session.c.TokenHash == digest)
    user = job_session.outerjoin(job_user, job_user.c.Name == job_session.c.UserName)
    wanted = wanted.add_columns(has_one.label("SecondFactor")).select_from(user)
    return (await connection.execute(wanted)).first()


async def sessions(
    connection: AsyncConnection, now: datetime, idle_since: datetime, name: str | None
) -> list[Row]:
    """Return the rows of the open sessions, newest first; ``name=None`` returns the sessions of all users."""
    wanted = _open_sessions(now, idle_since).order_by(job_session.c.CreatedAt.desc())
    if name is not None:
        wanted = wanted.where(job_session.c.UserName == name)
    return list(await connection.execute(wanted))


def _open_sessions(now: datetime, idle_since: datetime) -> sa.Select[Any]:
    c = job_session.c
    seen = sa.func.coalesce(c.LastSeenAt, c.CreatedAt)
    return sa.select(job_session).where(
        c.ExpiresAt > now, seen > sa.literal(idle_since, c.CreatedAt.type)
    )


async def note_session_use(connection: AsyncConnection, digest: str, now: datetime) -> None:
    """Store the time of a session's last use."""
    condition = job_session.c.TokenHash == digest
    await connection.execute(job_session.update().where(condition).values(LastSeenAt=now))


async def remove_session(connection: AsyncConnection, digest: str) -> None:
    """Remove one session."""
    await connection.execute(job_session.delete().where(job_session.c.TokenHash == digest))


async def remove_sessions_of(connection: AsyncConnection, name: str | None) -> int:
    """Remove all sessions of a user and return their number; ``name=None`` removes the sessions of all users."""
    gone = job_session.delete()
    if name is not None:
        gone = gone.where(job_session.c.UserName == name)
    return await changed(connection, gone)


async def add_token(
    connection: AsyncConnection,
    name: str,
    digest: str,
    *,
    role: str,
    by: str,
    now: datetime,
    expires_at: datetime | None,
    prefix: str,
    account: str,
    jobs_json: str | None,
) -> None:
    """Add a row of ``c_JobToken``."""
    values = {
        "Name": name,
        "TokenHash": digest,
        "Role": role,
        "CreatedBy": by,
        "CreatedAt": now,
        "ExpiresAt": expires_at,
        "Prefix": prefix,
        "Account": account or None,
        "JobsJson": jobs_json,
    }
    await connection.execute(job_token.insert().values(values))


async def has_token(connection: AsyncConnection, name: str) -> bool:
    """Return whether a token with this name exists."""
    taken = sa.select(job_token.c.Name).where(job_token.c.Name == name)
    return (await connection.execute(taken)).first() is not None


async def find_token(connection: AsyncConnection, digest: str) -> Row | None:
    """Return the row of the token with this digest."""
    wanted = sa.select(job_token).where(job_token.c.TokenHash == digest)
    return (await connection.execute(wanted)).first()


async def tokens(connection: AsyncConnection) -> list[Row]:
    """Return the rows of all tokens, ordered by name."""
    return list(await connection.execute(sa.select(job_token).order_by(job_token.c.Name)))


async def remove_token(connection: AsyncConnection, name: str) -> bool:
    """Remove a token; return whether the token existed."""
    return await changed(connection, job_token.delete().where(job_token.c.Name == name)) == 1


async def note_token_use(connection: AsyncConnection, name: str, now: datetime) -> None:
    """Store the time of a token's last use."""
    change = job_token.update().where(job_token.c.Name == name).values(LastUsedAt=now)
    await connection.execute(change)


async def add_second_factor(
    connection: AsyncConnection, name: str, secret: str, *, step: int, recovery_json: str
) -> bool:
    """Store a user's second factor; return false when the user does not exist or has a second factor already."""
    c = job_user.c
    values = {"TotpSecret": secret, "TotpStep": step, "RecoveryJson": recovery_json}
    change = job_user.update().where(c.Name == name, c.TotpSecret.is_(None)).values(values)
    return await changed(connection, change) == 1


async def remove_second_factor(connection: AsyncConnection, name: str) -> bool:
    """Remove a user's second factor; return whether the user had a second factor."""
    c = job_user.c
    nothing = {"TotpSecret": None, "TotpStep": None, "RecoveryJson": None}
    change = job_user.update().where(c.Name == name, c.TotpSecret.is_not(None)).values(nothing)
    return await changed(connection, change) == 1


async def use_step(connection: AsyncConnection, name: str, step: int) -> bool:
    """Mark a time step as used; return false when the same step or a later step was used before."""
    c = job_user.c
    unused = sa.or_(c.TotpStep.is_(None), c.TotpStep < step)
    change = job_user.update().where(c.Name == name, unused).values(TotpStep=step)
    return await changed(connection, change) == 1


async def use_recovery_code(
    connection: AsyncConnection, name: str, *, before: str, after: str
) -> bool:
    """Replace the remaining recovery codes; return false when another transaction changed the codes first."""
    c = job_user.c
    change = job_user.update().where(c.Name == name, c.RecoveryJson == before)
    return await changed(connection, change.values(RecoveryJson=after)) == 1


async def roles(connection: AsyncConnection) -> list[Row]:
    """Return the rows of all custom roles, ordered by name."""
    return list(await connection.execute(sa.select(job_role).order_by(job_role.c.Name)))


async def find_role(connection: AsyncConnection, name: str) -> Row | None:
    """Return the row of a custom role."""
    wanted = sa.select(job_role).where(job_role.c.Name == name)
    return (await connection.execute(wanted)).first()


async def keep_role(connection: AsyncConnection, name: str, grants_json: str) -> None:
    """Insert or replace a custom role."""
    await remove_role(connection, name)
    await connection.execute(job_role.insert().values(Name=name, GrantsJson=grants_json))


async def remove_role(connection: AsyncConnection, name: str) -> bool:
    """Remove a custom role; return whether the role existed."""
    return await changed(connection, job_role.delete().where(job_role.c.Name == name)) == 1


async def holders(connection: AsyncConnection, role: str) -> list[str]:
    """Return the names of the users and tokens that have a role, sorted."""
    queries = [
        sa.select(table.c.Name).where(table.c.Role == role) for table in (job_user, job_token)
    ]
    return sorted(await connection.scalars(sa.union(*queries)))
