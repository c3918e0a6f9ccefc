"""The stored procedure of an old job, as the new job names it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from targcc_gen.errors import InputError
from targcc_gen.spec.values import PROCEDURE, PROCEDURE_PART

_EXEC = re.compile(r"\s*EXEC(?:UTE)?\s+", re.IGNORECASE)
_MOST_PARTS = 4  # server.database.schema.name
# Blanks, dashes and the like may be in a name; these mean that the text is more than a name.
_MORE_THAN_A_NAME = re.compile(r"[@='();,\"\[\]\r\n]")


def procedure_name(text: str) -> str | None:
    """The name in ``StoredProcName``, quoted where it needs quoting; None if the text is more than a name.

    ``EXEC dbo.SP_Nightly;`` is ``dbo.SP_Nightly``; ``dbo.Daily Load`` is ``dbo.[Daily Load]``.
    """
    name = _EXEC.sub("", text.strip(), count=1).rstrip("; ").strip()
    if PROCEDURE.fullmatch(name):
        return name
    if not name or _MORE_THAN_A_NAME.search(name):
        return None
    parts = name.split(".")
    if len(parts) > _MOST_PARTS or not all(part.strip() for part in parts):
        return None
    return ".".join(part if re.fullmatch(PROCEDURE_PART, part) else f"[{part}]" for part in parts)


def load_procedure_map(path: Path) -> Mapping[str, str]:
    """Read ``--procedure-map``: YAML with a stored procedure for each code of ``lkpJob``; codes in lower case.

    Raises:
        InputError: The file is no such mapping, or a name is no procedure's.
    """
    import yaml

    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise InputError(f"{path}{where}: not YAML: {getattr(error, 'problem', error)}") from None
    hint = "Write one line for each code, such as  NightlyLoad: dbo.usp_NightlyLoad"
    if not isinstance(loaded, dict):
        raise InputError(f"{path}: not a mapping of codes to procedures", hint=hint)
    found: dict[str, str] = {}
    for code, text in loaded.items():
        name = procedure_name(text) if isinstance(text, str) else None
        if name is None:
            raise InputError(f'{path}: "{text}" (for {code}) is no name of a procedure', hint=hint)
        found[str(code).lower()] = name
    return found
