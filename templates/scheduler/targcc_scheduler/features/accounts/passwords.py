"""Passwords, as argon2 hashes."""

from __future__ import annotations

import secrets
from functools import cache
from typing import Any

from ...core.errors import AuthError
from ...project import current

LEAST_PASSWORD = 10
"""The least number of characters of a password."""
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
"""What the commonest passwords are made of, before people add digits, signs and capitals to them."""
_WRITTEN = str.maketrans("@4310$5!7", "aaeiossit")
"""How people write letters with signs."""
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


def hash_password(password: str, name: str = "") -> str:
    """The argon2 hash of a password; takes some tens of milliseconds on purpose.

    Args:
        password: The password.
        name: Whose it will be.

    Raises:
        AuthError: it is too short, or one that guessers try first.
    """
    if len(password) < LEAST_PASSWORD:
        raise AuthError(f"a password has at least {LEAST_PASSWORD} characters")
    if is_common(password, name):
        raise AuthError(
            "guessers try this password first: take several words that have nothing to do with each other"
        )
    return str(_hasher().hash(password))


def is_common(password: str, name: str = "") -> bool:
    """Whether a password is one of the commonest, with digits and signs around it; a row of keys; or its user's name."""
    plain = password.casefold()
    if len(set(plain)) < _FEWEST_CHARACTERS:
        return True
    core = plain.strip("0123456789!?.,;:-_+*#$%&/()=@ ")
    words = {core, core.translate(_WRITTEN), plain.translate(_WRITTEN)}
    known = _COMMON | {name.casefold(), current().name.casefold(), current().package.casefold()}
    return not core or not words.isdisjoint(known) or _is_row(plain)


def _is_row(plain: str) -> bool:
    """Whether it goes along keys or the alphabet, to and fro, once or again, or two rows in turn."""
    ways = [way * 3 for row in _ROWS for way in (row, row[::-1])]
    return any(plain in way for way in ways) or (
        any(plain[::2] in way for way in ways) and any(plain[1::2] in way for way in ways)
    )


def password_fits(password_hash: str | None, password: str) -> bool:
    """Whether the password belongs to the hash; false without a hash, after the same time, so that names cannot be guessed."""
    from argon2.exceptions import InvalidHashError, VerificationError

    nobodys = _nobodys_hash()  # made by the first try, whoever it is
    try:
        _hasher().verify(password_hash or nobodys, password)
    except (VerificationError, InvalidHashError):
        return False
    return password_hash is not None
