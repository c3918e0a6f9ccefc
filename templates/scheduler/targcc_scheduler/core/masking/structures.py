"""Masking of nested values, such as what a log line carries beside its text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .known import mask
from .patterns import MASK, looks_secret

_DEEPEST = 200
_PLAIN = (int, float, bool, type(None))


def masked(value: object, depth: int = 0) -> Any:
    """A value as JSON can hold it, with every text in it masked; what is called like a secret is masked as a whole."""
    if isinstance(value, str):
        return mask(str.__str__(value))
    if isinstance(value, _PLAIN):
        return value
    if depth >= _DEEPEST:
        return "…"
    if isinstance(value, Mapping):
        return {mask(str(key)): _under(key, item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [masked(item, depth + 1) for item in value]
    return mask(str(value))


def _under(key: object, value: object, depth: int) -> Any:
    if isinstance(value, str | bytes | bytearray) and value and looks_secret(str(key)):
        return MASK
    return masked(value, depth)
