"""Resolve references to secrets, such as ``${SLACK_URL}``, and encrypt stored values. Resolved values are masked in texts from then on."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from .errors import SecretError
from .masking import KNOWN, MASK, dotenv, know_values, mask

# Resolve references to secrets, such as ``${SLACK_URL}``. Resolved values are masked in texts from then on.

__all__ = [
    "MASK",
    "SOURCES",
    "add_secret_source",
    "from_outside",
    "know",
    "mask",
    "register_secret",
    "resolve",
]

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


class Source(Protocol):
    """A source that resolves references of a single form."""

    def resolve(self, text: str) -> str:
        """Replace this source's references in ``text`` by their values; return other texts unchanged.

        Raises:
            SecretError: The target of a reference is missing; the message holds the name and no value.
        """


class EnvironmentSource:
    """Resolve ``${NAME}`` anywhere in a text: an environment variable, or else a line of ``.env`` in the working directory."""

    def resolve(self, text: str) -> str:
        """See :class:`Source`."""
        return _VARIABLE.sub(lambda found: _variable(found[1]), text)


class FileSource:
    """Resolve ``file:/run/secrets/slack``: the content of a file in UTF-8, without surrounding white space."""

    def resolve(self, text: str) -> str:
        """See :class:`Source`."""
        if not text.startswith("file:"):
            return text
        path = text.removeprefix("file:").removeprefix("//")
        try:
            value = Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is no text"
            raise SecretError(f"the secret's file {path} cannot be read: {reason}") from None
        if not value:
            raise SecretError(f"the secret's file {path} is empty")
        return value


SOURCES: tuple[Source, ...] = (FileSource(), EnvironmentSource())
"""The default sources of :func:`resolve`, in order."""


_added: list[Source] = []


def add_secret_source(source: Source) -> None:
    """Add a source of secrets, such as a vault. Call this function in the project's ``__init__.py``, before settings are read.

    Args:
        source: The source, asked before the environment and files. A source must return a text without its references unchanged.
    """
    _added.append(source)


def register_secret(value: str | bytes) -> None:
    """Mask a value in outgoing texts from now on, such as a token that a job got from a server.

    Args:
        value: The secret value. A value that looks like ordinary text is ignored: see ``docs/security.md``.
    """
    KNOWN.add(value, passing=True)


def resolve(text: str, sources: Iterable[Source] = SOURCES) -> str:
    """Resolve a reference to a secret; return any other text unchanged.

    Args:
        text: A reference such as ``${SLACK_URL}`` or ``file:/run/secrets/slack``, or the value itself.
        sources: The sources to try; the first that knows the form of the reference answers.

    Raises:
        SecretError: The target of the reference is missing; the message holds the name and no value.
    """
    for source in (*_added, *sources):
        value = source.resolve(text)
        if value != text:
            know(value)
            return value
    return text


def from_outside(value: Any) -> Any:
    """Resolve a setting that may be a reference to a secret, and mask the password of a URL from now on; return a value that is no text unchanged.

    Raises:
        ValueError: The target of the reference is missing.
    """
    if not isinstance(value, str):
        return value
    try:
        text = resolve(value)
    except SecretError as error:
        raise ValueError(str(error)) from None
    know_values([text])  # before the settings may refuse it
    return text


def know(value: str) -> None:
    """Mask a value in outgoing texts from now on; if the value is a URL, mask its password, too."""
    KNOWN.add(value)
    KNOWN.add_url(value)


def _variable(name: str) -> str:
    value = os.environ.get(name) or dotenv().get(name)
    if not value:
        raise SecretError(f"the environment variable {name} is not set, nor a line of .env")
    return value


# Encrypt and sign stored values (Fernet). The keys are kept outside the database.

SEAL = "$sealed"
"""The only key of the JSON object that replaces an encrypted value."""
_TOKEN = re.compile(r'"\$sealed": ?"([^"]+)"')
"""An encrypted value in JSON text."""


def new_key() -> str:
    """Return a new key for ``TARGCC_SECRET_KEY``."""
    return str(_fernet().Fernet.generate_key().decode())


def _fernet() -> Any:
    try:
        from cryptography import fernet
    except ImportError:
        from .extras import missing_extra

        raise SecretError(missing_extra("secrets", "encryption needs cryptography")) from None
    return fernet


class Seals:
    """Encrypt and decrypt arguments.

    Without a key, values are stored as plain text; ``targcc doctor`` reports it.
    """

    def __init__(self) -> None:
        self._keys: tuple[str, ...] = ()
        self._box: Any = None

    @property
    def keys(self) -> tuple[str, ...]:
        """Return the keys. The first key encrypts new values; every key decrypts."""
        return self._keys

    def use(self, keys: Iterable[str]) -> None:
        """Use these keys from now on; an empty list changes nothing.

        Raises:
            SecretError: A key is malformed, or cryptography is not installed.
        """
        new_keys = tuple(keys)
        if not new_keys or new_keys == self._keys:
            return
        fernet = _fernet()
        try:
            self._box = fernet.MultiFernet([fernet.Fernet(key) for key in new_keys])
        except ValueError:
            raise SecretError("not a key: targcc secret key makes one") from None
        self._keys = new_keys
        for key in new_keys:
            KNOWN.add(key)

    def seal(self, arguments: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
        """Return the arguments with the named arguments encrypted."""
        sealed_arguments = dict(arguments)
        if self._box is not None:
            for name in names:
                if sealed_arguments.get(name) is not None:
                    text = json.dumps(sealed_arguments[name], ensure_ascii=False)
                    sealed_arguments[name] = {SEAL: self._box.encrypt(text.encode()).decode()}
        return sealed_arguments

    def open(self, arguments: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
        """Return the arguments with the named arguments decrypted.

        Raises:
            SecretError: This process does not have the key of an encrypted argument, or the encrypted text was changed.
        """
        opened_arguments = dict(arguments)
        for name in names:
            if _is_sealed(opened_arguments.get(name)):
                opened_arguments[name] = json.loads(
                    self._opened(name, opened_arguments[name][SEAL])
                )
        return opened_arguments

    def opens(self, text: str) -> bool:
        """Return whether the keys of this process decrypt every encrypted value in a JSON text."""
        if self._box is None:
            return _TOKEN.search(text) is None
        return all(self._is_ours(token) for token in _TOKEN.findall(text))

    def _is_ours(self, token: str) -> bool:
        try:
            self._box.decrypt(token)
        except _fernet().InvalidToken:
            return False
        return True

    def _opened(self, name: str, sealed: str) -> bytes:
        if self._box is None:
            raise SecretError(f"{name} is sealed, and TARGCC_SECRET_KEY is not set here")
        try:
            opened: bytes = self._box.decrypt(sealed)
        except _fernet().InvalidToken:
            raise SecretError(
                f"{name} was sealed with a key that is not in TARGCC_SECRET_KEY here, or was changed"
            ) from None
        return opened


def split_keys(text: str) -> list[str]:
    """Split the text of a setting or a file into keys; commas and white space separate keys."""
    return [key for key in re.split(r"[,\s]+", text) if key]


def _is_sealed(value: object) -> bool:
    return isinstance(value, dict) and value.keys() == {SEAL} and isinstance(value[SEAL], str)


SEALS = Seals()
"""The encryption keys of this process."""
