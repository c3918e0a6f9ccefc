"""Users, their sessions, and API tokens: the statements. What a name, a password or a role is, the room ``security`` knows."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...db.dialects.counting import changed
from ...db.tables import job_role, job_session, job_token, job_user

Row = Any
"""A row of a table: its columns by name."""


async def add_user(
    connection: AsyncConnection, name: str, *, password_hash: str, role: str, now: datetime
) -> None:
    """Add a row of ``c_JobUser``."""
    values = {"Name": name, "PasswordHash": password_hash, "Role": role, "CreatedAt": now}
    await connection.execute(job_user.insert().values(values))


async def find_user(connection: AsyncConnection, name: str) -> Row | None:
    """The row of a user; the name is taken in any case."""
    wanted = sa.select(job_user).where(sa.func.lower(job_user.c.Name) == name.lower())
    return (await connection.execute(wanted)).first()


async def users(connection: AsyncConnection) -> list[Row]:
    """The rows of all users, by name."""
    return list(await connection.execute(sa.select(job_user).order_by(job_user.c.Name)))


async def has_users(connection: AsyncConnection) -> bool:
    """Whether there is any user."""
    return (await connection.execute(sa.select(job_user.c.Name).limit(1))).first() is not None


async def change_password(connection: AsyncConnection, name: str, password_hash: str) -> bool:
    """Give a user another password; whether there is such a user."""
    change = job_user.update().where(job_user.c.Name == name).values(PasswordHash=password_hash)
    return await changed(connection, change) == 1


async def remove_user(connection: AsyncConnection, name: str) -> bool:
    """Remove a user; whether there was one."""
    return await changed(connection, job_user.delete().where(job_user.c.Name == name)) == 1


async def change_role(connection: AsyncConnection, name: str, role: str) -> bool:
    """Give a user another role, in their sessions too; whether there is such a user."""
    change = job_user.update().where(job_user.c.Name == name).values(Role=role)
    if await changed(connection, change) != 1:
        return False
    mine = job_session.c.UserName == name
    await connection.execute(job_session.update().where(mine).values(Role=role))
    return True


async def note_login(connection: AsyncConnection, name: str, now: datetime) -> None:
    """Keep when a user last signed in."""
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
    """Add a session, and remove those that have ended."""
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
    """The row of a session that has not ended; ``SecondFactor`` says whether its user has one, NULL of somebody who is no user here."""
    has_one = sa.case((job_user.c.Name.is_(None), None), else_=job_user.c.TotpSecret.is_not(None))
    wanted = _open_sessions(now, idle_since).where(job_session.c.TokenHash == digest)
    user = job_session.outerjoin(job_user, job_user.c.Name == job_session.c.UserName)
    wanted = wanted.add_columns(has_one.label("SecondFactor")).select_from(user)
    return (await connection.execute(wanted)).first()


async def sessions(
    connection: AsyncConnection, now: datetime, idle_since: datetime, name: str | None
) -> list[Row]:
    """The rows of the sessions that have not ended, of one user or all, the newest first."""
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
    """Keep when a session was last used."""
    mine = job_session.c.TokenHash == digest
    await connection.execute(job_session.update().where(mine).values(LastSeenAt=now))


async def remove_session(connection: AsyncConnection, digest: str) -> None:
    """Remove one session."""
    await connection.execute(job_session.delete().where(job_session.c.TokenHash == digest))


async def remove_sessions_of(connection: AsyncConnection, name: str | None) -> int:
    """Remove all sessions of a user, or of everybody; how many there were."""
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
    """Whether there is a token of this name."""
    taken = sa.select(job_token.c.Name).where(job_token.c.Name == name)
    return (await connection.execute(taken)).first() is not None


async def find_token(connection: AsyncConnection, digest: str) -> Row | None:
    """The row of the token with this digest."""
    wanted = sa.select(job_token).where(job_token.c.TokenHash == digest)
    return (await connection.execute(wanted)).first()


async def tokens(connection: AsyncConnection) -> list[Row]:
    """The rows of all tokens, by name."""
    return list(await connection.execute(sa.select(job_token).order_by(job_token.c.Name)))


async def remove_token(connection: AsyncConnection, name: str) -> bool:
    """Remove a token; whether there was one."""
    return await changed(connection, job_token.delete().where(job_token.c.Name == name)) == 1


async def note_token_use(connection: AsyncConnection, name: str, now: datetime) -> None:
    """Keep when a token was last used."""
    change = job_token.update().where(job_token.c.Name == name).values(LastUsedAt=now)
    await connection.execute(change)


async def add_second_factor(
    connection: AsyncConnection, name: str, secret: str, *, step: int, recovery_json: str
) -> bool:
    """Give a user a second factor; whether there is such a user who had none."""
    c = job_user.c
    values = {"TotpSecret": secret, "TotpStep": step, "RecoveryJson": recovery_json}
    change = job_user.update().where(c.Name == name, c.TotpSecret.is_(None)).values(values)
    return await changed(connection, change) == 1


async def remove_second_factor(connection: AsyncConnection, name: str) -> bool:
    """Take a user's second factor away; whether they had one."""
    c = job_user.c
    nothing = {"TotpSecret": None, "TotpStep": None, "RecoveryJson": None}
    change = job_user.update().where(c.Name == name, c.TotpSecret.is_not(None)).values(nothing)
    return await changed(connection, change) == 1


async def use_step(connection: AsyncConnection, name: str, step: int) -> bool:
    """Note that the code of a step was used; whether none of it or of a later step was before."""
    c = job_user.c
    unused = sa.or_(c.TotpStep.is_(None), c.TotpStep < step)
    change = job_user.update().where(c.Name == name, unused).values(TotpStep=step)
    return await changed(connection, change) == 1


async def use_recovery_code(
    connection: AsyncConnection, name: str, *, before: str, after: str
) -> bool:
    """Change the recovery codes that are left; whether nobody else has meanwhile."""
    c = job_user.c
    change = job_user.update().where(c.Name == name, c.RecoveryJson == before)
    return await changed(connection, change.values(RecoveryJson=after)) == 1


async def roles(connection: AsyncConnection) -> list[Row]:
    """The rows of all roles of one's own, by name."""
    return list(await connection.execute(sa.select(job_role).order_by(job_role.c.Name)))


async def find_role(connection: AsyncConnection, name: str) -> Row | None:
    """The row of a role."""
    wanted = sa.select(job_role).where(job_role.c.Name == name)
    return (await connection.execute(wanted)).first()


async def keep_role(connection: AsyncConnection, name: str, grants_json: str) -> None:
    """Write a role down as it is from now on."""
    await remove_role(connection, name)
    await connection.execute(job_role.insert().values(Name=name, GrantsJson=grants_json))


async def remove_role(connection: AsyncConnection, name: str) -> bool:
    """Remove a role; whether there was one."""
    return await changed(connection, job_role.delete().where(job_role.c.Name == name)) == 1


async def holders(connection: AsyncConnection, role: str) -> list[str]:
    """Users and tokens that have a role, by name."""
    found = [sa.select(table.c.Name).where(table.c.Role == role) for table in (job_user, job_token)]
    return sorted(await connection.scalars(sa.union(*found)))
