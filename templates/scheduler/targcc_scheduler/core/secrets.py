"""Secrets: where a reference such as ``${SLACK_URL}`` is looked up. What is found is masked in texts from then on."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

from .errors import SecretError
from .masking import KNOWN, MASK, dotenv, longest_secret, mask

__all__ = [
    "MASK",
    "SOURCES",
    "add_secret_source",
    "from_outside",
    "know",
    "longest_secret",
    "mask",
    "register_secret",
    "resolve",
]

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


class Source(Protocol):
    """A place where references of one form are looked up."""

    def resolve(self, text: str) -> str:
        """``text`` with this source's references replaced by what they stand for; other texts stay as they are.

        Raises:
            SecretError: what a reference names is missing; the message names it and holds no value.
        """


class EnvironmentSource:
    """``${NAME}``, anywhere in a text: an environment variable, or else a line of ``.env`` in the working directory."""

    def resolve(self, text: str) -> str:
        """See :class:`Source`."""
        return _VARIABLE.sub(lambda found: _variable(found[1]), text)


class FileSource:
    """``file:/run/secrets/slack``: the content of a file in UTF-8, without the white space around it."""

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
"""The sources that :func:`resolve` asks, in this order."""


_added: list[Source] = []


def add_secret_source(source: Source) -> None:
    """Look references up in one place more, such as a vault; for the project's ``__init__.py``, before settings are read.

    Args:
        source: It is asked before the environment and files, and returns a text that is no reference of its own as it is.
    """
    _added.append(source)


def register_secret(value: str | bytes) -> None:
    """Mask a value wherever it would go out from now on, such as a token that a job got from a server.

    Args:
        value: One that cannot be told from ordinary text is left out: see ``docs/security.md``.
    """
    KNOWN.add(value, passing=True)


def resolve(text: str, sources: Iterable[Source] = SOURCES) -> str:
    """What a reference to a secret stands for; a text that is no reference stays as it is.

    Args:
        text: Such as ``${SLACK_URL}``, ``file:/run/secrets/slack``, or the value itself.
        sources: Where to look; the first that knows the form of the reference answers.

    Raises:
        SecretError: what is named is missing; the message names it and holds no value.
    """
    for source in (*_added, *sources):
        value = source.resolve(text)
        if value != text:
            know(value)
            return value
    return text


def from_outside(value: Any) -> Any:
    """A setting for which a reference to a secret may stand; what is no text stays as it is.

    Raises:
        ValueError: what is named is missing.
    """
    try:
        return resolve(value) if isinstance(value, str) else value
    except SecretError as error:
        raise ValueError(str(error)) from None


def know(value: str) -> None:
    """Mask a value, and the password in it when it is a URL, wherever it goes out from now on."""
    KNOWN.add(value)
    KNOWN.add_url(value)


def _variable(name: str) -> str:
    value = os.environ.get(name) or dotenv().get(name)
    if not value:
        raise SecretError(f"the environment variable {name} is not set, nor a line of .env")
    return value
