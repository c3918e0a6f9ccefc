"""Encrypt and sign stored values (Fernet). The keys are kept outside the database."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from .errors import SecretError
from .masking import KNOWN

SEAL = "$sealed"
"""The only key of the JSON object that replaces an encrypted value."""
_TOKEN = re.compile(r'"\$sealed": ?"([^"]+)"')
"""An encrypted value in JSON text."""
_MISSING = "sealing needs cryptography: uv sync --extra secrets, or pip install cryptography"


def new_key() -> str:
    """Return a new key for ``TARGCC_SECRET_KEY``."""
    return str(_fernet().Fernet.generate_key().decode())


def _fernet() -> Any:
    try:
        from cryptography import fernet
    except ImportError:
        raise SecretError(_MISSING) from None
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
        wanted = tuple(keys)
        if not wanted or wanted == self._keys:
            return
        fernet = _fernet()
        try:
            self._box = fernet.MultiFernet([fernet.Fernet(key) for key in wanted])
        except ValueError:
            raise SecretError("not a key: targcc secret key makes one") from None
        self._keys = wanted
        for key in wanted:
            KNOWN.add(key)

    def seal(self, arguments: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
        """Return the arguments with the named arguments encrypted."""
        found = dict(arguments)
        if self._box is not None:
            for name in names:
                if found.get(name) is not None:
                    text = json.dumps(found[name], ensure_ascii=False)
                    found[name] = {SEAL: self._box.encrypt(text.encode()).decode()}
        return found

    def open(self, arguments: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
        """Return the arguments with the named arguments decrypted.

        Raises:
            SecretError: This process does not have the key of an encrypted argument, or the encrypted text was changed.
        """
        found = dict(arguments)
        for name in names:
            if _is_sealed(found.get(name)):
                found[name] = json.loads(self._opened(name, found[name][SEAL]))
        return found

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
