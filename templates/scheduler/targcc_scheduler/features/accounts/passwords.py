"""Passwords, as argon2 hashes."""

from __future__ import annotations

import secrets
from functools import cache
from typing import Any

from ...core.errors import AuthError
from ...core.languages import Localized
from ...project import current

LEAST_PASSWORD = 10
"""Minimum length of a password, in characters."""
MOST_PASSWORD = 4_096
"""Maximum length of a password, in characters."""
_COMMON = frozenset(
    [
        "password",
        "passwort",
        "passw",
        "motdepasse",
        "contrasena",
        "wachtwoord",
        "senha",
        "haslo",
        "parola",
        "secret",
        "geheim",
        "changeme",
        "changeit",
        "letmein",
        "iloveyou",
        "ilovey",
        "welcome",
        "willkommen",
        "bienvenue",
        "administrator",
        "admin",
        "root",
        "superuser",
        "operator",
        "manager",
        "user",
        "guest",
        "test",
        "tester",
        "testing",
        "demo",
        "default",
        "login",
        "master",
        "qwerty",
        "qwertyuiop",
        "qwertz",
        "qwertzuiop",
        "azerty",
        "azertyuiop",
        "asdfghjkl",
        "asdfgh",
        "zxcvbnm",
        "qazwsx",
        "qazwsxedc",
        "qweasd",
        "qweasdzxc",
        "qwerasdf",
        "qwert",
        "zaqwsx",
        "zaqxswcde",
        "abcdef",
        "abcdefg",
        "abcdefgh",
        "abcdefghij",
        "abcabc",
        "abc",
        "aaa",
        "monkey",
        "dragon",
        "football",
        "baseball",
        "basketball",
        "superman",
        "batman",
        "sunshine",
        "princess",
        "shadow",
        "michael",
        "jennifer",
        "jordan",
        "michelle",
        "charlie",
        "ashley",
        "daniel",
        "jessica",
        "computer",
        "internet",
        "freedom",
        "whatever",
        "trustno",
        "starwars",
        "pokemon",
        "liverpool",
        "chelsea",
        "arsenal",
        "barcelona",
        "realmadrid",
        "hello",
        "helloworld",
        "goodluck",
        "security",
        "company",
        "summer",
        "winter",
        "spring",
        "autumn",
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
        "monday",
        "friday",
        "postgres",
        "postgresql",
        "database",
        "oracle",
        "mysql",
        "server",
        "docker",
        "kubernetes",
        "scheduler",
        "targcc",
        "hangfire",
        "taskmanager",
        "correcthorsebatterystaple",
        "qqwweerrtt",
        "qwerqwer",
        "asdfasdf",
        "passpass",
        "adminadmin",
        "testtest",
        "loveyou",
        "lovelove",
        "mypassword",
        "thepassword",
        "yourpassword",
        "newpassword",
        "oldpassword",
    ]
)
"""Base words of the most common passwords, without added digits, signs and capitals."""
_WRITTEN = str.maketrans("@4310$5!7", "aaeiossit")
"""Map common substitutes, such as ``@`` and ``0``, to their letters."""
_ROWS = (
    "1234567890",
    "qwertyuiop",
    "qwertzuiop",
    "azertyuiop",
    "asdfghjkl",
    "zxcvbnm",
    "abcdefghijklmnopqrstuvwxyz",
)
_FEWEST_CHARACTERS = 5


@cache
def _hasher() -> Any:
    from argon2 import PasswordHasher

    return PasswordHasher()


@cache
def _nobodys_hash() -> str:
    return str(_hasher().hash(secrets.token_urlsafe()))


_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"  # no l, o, i, 0, 1: people type a first password


def new_password() -> str:
    """Return a random password of twenty letters and digits in four groups, such as ``k7mxq-…``."""
    groups = ["".join(secrets.choice(_LETTERS) for _ in range(5)) for _ in range(4)]
    return "-".join(groups)


def hash_password(password: str, name: str = "") -> str:
    """Return the argon2 hash of a password; takes some tens of milliseconds on purpose.

    Args:
        password: The password.
        name: The name of the user.

    Raises:
        AuthError: the password is too short or too long, or is common.
    """
    if len(password) < LEAST_PASSWORD:
        raise AuthError(
            Localized("a password has at least %(number)s characters", number=LEAST_PASSWORD)
        )
    if len(password) > MOST_PASSWORD:
        raise AuthError(
            Localized("a password has at most %(number)s characters", number=MOST_PASSWORD)
        )
    if is_common(password, name):
        raise AuthError(
            Localized(
                "guessers try this password first: take several words that have nothing to do with each other"
            )
        )
    return str(_hasher().hash(password))


def is_common(password: str, name: str = "") -> bool:
    """Return whether a password is easy to guess.

    Common: fewer than five different characters; a common word, the user's name or the project's name, with digits and signs around it;
    a row of keys.
    """
    plain = password.casefold()
    if len(set(plain)) < _FEWEST_CHARACTERS:
        return True
    core = plain.strip("0123456789!?.,;:-_+*#$%&/()=@ ")
    words = {core, core.translate(_WRITTEN), plain.translate(_WRITTEN)}
    known = _COMMON | {name.casefold(), current().name.casefold(), current().package.casefold()}
    return not core or not words.isdisjoint(known) or _is_row(plain)


def _is_row(plain: str) -> bool:
    """Return whether a text follows a row of keys or the alphabet, in either direction, repeated up to three times.

    Two rows in alternation count, too.
    """
    ways = [way * 3 for row in _ROWS for way in (row, row[::-1])]
    return any(plain in way for way in ways) or (
        any(plain[::2] in way for way in ways) and any(plain[1::2] in way for way in ways)
    )


def password_fits(password_hash: str | None, password: str) -> bool:
    """Return whether the password matches the hash.

    Without a hash the result is false after the same time, so that response times do not reveal user names.
    """
    from argon2.exceptions import InvalidHashError, VerificationError

    nobodys = _nobodys_hash()  # made by the first check, with or without a user
    try:
        _hasher().verify(password_hash or nobodys, password)
    except (VerificationError, InvalidHashError):
        return False
    return password_hash is not None
