"""Second factor: time-based codes (RFC 6238) and recovery codes."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import secrets
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode

from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.errors import AuthError
from ...core.languages import Localized
from ...core.secrets import SEALS
from ...core.text import digest
from . import model

# Time-based one-time passwords: RFC 6238 with SHA-1, six digits and steps of thirty seconds, the format of authenticator apps.

STEP_SECONDS = 30
_DIGITS = 6
_DRIFT = 1
"""Number of steps that the clock of the phone may be off, in either direction."""


def new_secret() -> str:
    """Return a new secret of 160 bits in base32, the format for apps."""
    return base64.b32encode(secrets.token_bytes(20)).decode()


def code_at(secret: str, step: int, digits: int = _DIGITS) -> str:
    """Return the code of a time step (RFC 4226, section 5.3)."""
    key = base64.b32decode(secret)
    mac = hmac.new(key, step.to_bytes(8, "big"), "sha1").digest()
    offset = mac[-1] & 0x0F
    number = int.from_bytes(mac[offset : offset + 4], "big") & 0x7FFF_FFFF
    return str(number % 10**digits).zfill(digits)


def step_of(secret: str, code: str, now: datetime) -> int | None:
    """Return the time step of a code: the present step, the step before or the step after; ``None`` when the code matches none."""
    current = int(now.timestamp()) // STEP_SECONDS
    for step in range(current - _DRIFT, current + _DRIFT + 1):
        if hmac.compare_digest(code_at(secret, step).encode(), code.encode()):
            return step
    return None


def is_secret(text: str) -> bool:
    """Return whether a text is a base32 secret with the length of :func:`new_secret`."""
    try:
        return len(base64.b32decode(text)) == len(base64.b32decode(new_secret()))
    except (binascii.Error, ValueError):
        return False


def address(secret: str, name: str, issuer: str) -> str:
    """Return the ``otpauth:`` address that apps open or read from a QR code."""
    label = quote(f"{issuer}:{name}", safe="")
    return f"otpauth://totp/{label}?{urlencode({'secret': secret, 'issuer': issuer})}"


# A user's second factor: codes of an authenticator app, and recovery codes for a lost app.

RECOVERY_CODES = 10
"""Number of recovery codes of a user; each code works once."""
_TICKET_LIFE = timedelta(minutes=5)
_SEALED = "totp"


async def is_on(connection: AsyncConnection, name: str) -> bool:
    """Return whether a user has a second factor."""
    row = await model.find_user(connection, name)
    return row is not None and row.TotpSecret is not None


async def recovery_left(connection: AsyncConnection, name: str) -> int:
    """Return the number of unused recovery codes of a user."""
    row = await model.find_user(connection, name)
    return len(json.loads(row.RecoveryJson)) if row is not None and row.RecoveryJson else 0


async def turn_on(
    connection: AsyncConnection, name: str, secret: str, code: str, now: datetime
) -> list[str]:
    """Store a second factor for a user and return the recovery codes; only digests of the codes are stored.

    Args:
        connection: A transaction that writes.
        name: The user.
        secret: The secret in the user's app.
        code: The code that the app shows.
        now: The present instant.

    Raises:
        AuthError: the code does not match the secret, or the user is unknown or has a second factor already.
    """
    step = step_of(secret, _plain(code), now) if is_secret(secret) else None
    if step is None:
        raise AuthError(
            Localized(
                "that is not the code that the app shows now: is the clock of the phone right?"
            )
        )
    codes = [_new_recovery_code() for _ in range(RECOVERY_CODES)]
    sealed = SEALS.seal({_SEALED: secret}, [_SEALED])[_SEALED]
    stored = json.dumps([digest(_plain(recovery_code)) for recovery_code in codes])
    if not await model.add_second_factor(
        connection, name, json.dumps(sealed), step=step, recovery_json=stored
    ):
        raise AuthError(Localized("%(name)s has a second factor already, or is no user", name=name))
    return codes


async def turn_off(connection: AsyncConnection, name: str) -> None:
    """Remove a user's second factor.

    Raises:
        AuthError: the user has no second factor.
    """
    if not await model.remove_second_factor(connection, name):
        raise AuthError(Localized("%(name)s has no second factor", name=name))


async def reset(connection: AsyncConnection, name: str) -> None:
    """Turn off the second factor of a user who has lost it, and end the user's sessions.

    Raises:
        AuthError: there is no such user, or no second factor.
    """
    await turn_off(connection, name)
    await model.remove_sessions_of(connection, name)


async def use(connection: AsyncConnection, name: str, code: str, now: datetime) -> str | None:
    """Check a code and mark the code as used.

    Args:
        connection: A transaction that writes.
        name: The user.
        code: The typed code: from the app, or a recovery code.
        now: The present instant.

    Returns:
        The kind of code in words, for the audit; ``None`` when the code is wrong or was used before.
    """
    row = await model.find_user(connection, name)
    if row is None or row.TotpSecret is None:
        return None
    code = _plain(code)
    step = step_of(_opened(row.TotpSecret), code, now)
    if step is not None:
        used = await model.use_step(connection, row.Name, step)
        return "code" if used else None
    left = json.loads(row.RecoveryJson or "[]")
    if digest(code) not in left:
        return None
    rest = [recovery_code for recovery_code in left if recovery_code != digest(code)]
    used = await model.use_recovery_code(
        connection, row.Name, before=row.RecoveryJson, after=json.dumps(rest)
    )
    return f"recovery code, {len(rest)} left" if used else None


def new_ticket(name: str, password_hash: str, now: datetime) -> str:
    """Return a signed ticket that proves for five minutes that the password was right; the server stores nothing."""
    ends = str(int((now + _TICKET_LIFE).timestamp()))
    return f"{ends}.{_signature(ends, name, password_hash)}"


def ticket_fits(ticket: str, name: str, password_hash: str, now: datetime) -> bool:
    """Return whether a ticket belongs to this user and has not expired."""
    ends, _, signature = ticket[:200].partition(".")
    wanted = _signature(ends, name, password_hash)
    fits = hmac.compare_digest(signature.encode(), wanted.encode())
    return fits and int(ends) >= now.timestamp()


def _signature(ends: str, name: str, password_hash: str) -> str:
    key = hashlib.sha256(f"second factor {password_hash}".encode()).digest()
    return hmac.new(key, f"{ends} {name.lower()}".encode(), "sha256").hexdigest()


def _new_recovery_code() -> str:
    text = base64.b32encode(secrets.token_bytes(10)).decode()
    return "-".join(text[place : place + 4] for place in range(0, len(text), 4))


def _plain(code: str) -> str:
    """Normalise a typed code: remove blanks and dashes, change to capitals, and cut after 64 characters."""
    return "".join(code.split()).replace("-", "").upper()[:64]


def _opened(stored: str) -> str:
    sealed: Any = json.loads(stored)
    return str(SEALS.open({_SEALED: sealed}, [_SEALED])[_SEALED])
