"""Recipients as rows keep them, and as one message reaches several."""

from __future__ import annotations

import json
from collections.abc import Iterable

from .policy import Target


def as_json(targets: Iterable[Target]) -> str:
    """Who was told, as :func:`from_json` reads it."""
    return json.dumps([[one.channel, one.address, one.from_code] for one in targets])


def from_json(text: str) -> tuple[Target, ...]:
    """Who was told."""
    return tuple(Target(*one) for one in json.loads(text))


def grouped(targets: Iterable[Target]) -> tuple[Target, ...]:
    """The recipients, with all addresses of one mail in one of them."""
    mails: dict[bool, list[str]] = {}
    others = []
    for target in targets:
        if target.channel == "mail":
            mails.setdefault(target.from_code, []).append(target.address)
        else:
            others.append(target)
    joined = [
        Target("mail", ", ".join(dict.fromkeys(every)), from_code)
        for from_code, every in mails.items()
    ]
    return (*joined, *others)
