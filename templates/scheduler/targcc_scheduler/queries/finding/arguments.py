"""Arguments, compared within their JSON as :func:`json.dumps` writes it: no database has to read it."""

from __future__ import annotations

import json

import sqlalchemy as sa

from ...search.terms import Pattern
from ...storage.tables import job_run
from .likeness import escaped


def fragments(name: str, wanted: Pattern) -> list[str]:
    """What may stand in the JSON of arguments of which one has this value: as a text, a number or another word."""
    key, value = _in_json(name), wanted.text
    if not wanted.is_exact:
        begin = value.removesuffix("*")
        return [f'{key}: "{_in_json(begin)[1:-1]}', *([f"{key}: {begin}"] if begin else [])]
    found = [f"{key}: {_in_json(value)}"]
    if value:
        found += [f"{key}: {value}{end}" for end in (",", "}")]
    return found


def holds_argument(name: str, wanted: Pattern) -> sa.ColumnElement[bool]:
    """That a run has an argument with this value."""
    return sa.or_(
        *(
            job_run.c.ArgumentsJson.like(f"%{escaped(one)}%", escape="\\")
            for one in fragments(name, wanted)
        )
    )


def _in_json(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
