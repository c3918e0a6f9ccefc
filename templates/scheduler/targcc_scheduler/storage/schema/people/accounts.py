"""The tables of who may come in: users, tokens, browsers."""

from __future__ import annotations

import sqlalchemy as sa

from ..columns import LONG, UtcDateTime, column, named, table, text

job_user = table(
    "c_JobUser",
    column("Name", text(100), primary_key=True),
    column("PasswordHash", text(200), nullable=False),
    column("Role", text(20), nullable=False),
    column("CreatedAt", UtcDateTime, nullable=False),
    column("LastLoginAt", UtcDateTime),
    column("TotpSecret", text(500)),
    column("TotpStep", sa.BigInteger),
    column("RecoveryJson", LONG),
)
"""Who may sign in. ``PasswordHash`` is argon2; ``TotpSecret`` the second factor, ``TotpStep`` the last step whose code was used, and
``RecoveryJson`` the digests of the recovery codes that are left.
"""

job_token = table(
    "c_JobToken",
    column("Name", text(100), primary_key=True),
    column("TokenHash", text(64), nullable=False),
    column("Role", text(20), nullable=False),
    column("CreatedBy", text(100), nullable=False),
    column("CreatedAt", UtcDateTime, nullable=False),
    column("LastUsedAt", UtcDateTime),
    column("ExpiresAt", UtcDateTime),
    column("Prefix", text(20)),
    column("Account", text(100)),
    column("JobsJson", LONG),
    sa.UniqueConstraint(named("TokenHash"), name=named("UQ_c_JobToken_TokenHash")),
)
"""API tokens; only the SHA-256 of a token and how it begins are kept. ``Account`` is the program that several may belong to, ``JobsJson`` the
jobs that it may start, if nothing else.
"""

job_session = table(
    "c_JobSession",
    column("TokenHash", text(64), primary_key=True),
    column("UserName", text(100), nullable=False),
    column("Role", text(20), nullable=False),
    column("CsrfToken", text(64), nullable=False),
    column("CreatedAt", UtcDateTime, nullable=False),
    column("ExpiresAt", UtcDateTime, nullable=False),
    column("Device", text(200)),
    column("RemoteAddress", text(100)),
    column("LastSeenAt", UtcDateTime),
)
"""Browsers that are signed in."""
