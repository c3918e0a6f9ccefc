"""Codes of errors: the text of each code, and its address in the manual.

A code, such as ``TS102``, belongs to a class of exceptions (:mod:`.errors`), a kind of problem (``web/problems.py``) or an error of the command
line, and keeps its meaning over releases. ``error_codes.toml`` explains each code. ``targcc explain TS102`` prints the text, and the manual lists all texts.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

MANUAL = ""
"""Address of the published manual; empty while no address is published. ``TARGCC_MANUAL_URL`` names a copy of a company's own."""
VARIABLE = "TARGCC_MANUAL_URL"
PAGE = "reference/errors.html"
"""Page of the codes, relative to the manual's address. The anchor is the code in small letters."""
_GROUP = len("TS1")
"""Length of the beginning that the codes of a group share."""
FILE = Path(__file__).with_name("error_codes.toml")


@dataclass(frozen=True, slots=True)
class Explanation:
    """The text of a code.

    Attributes:
        code: The code.
        title: A few words for a list.
        meaning: The cause, in full sentences.
        example: An error as printed, or a problem's detail.
        action: The next step.
    """

    code: str
    title: str
    meaning: str
    example: str
    action: str

    def text(self) -> str:
        """Return the explanation for a terminal."""
        import textwrap

        example = textwrap.indent(self.example, "  ")
        meaning, action = (
            textwrap.fill(text, 100, break_long_words=False, break_on_hyphens=False)
            for text in (self.meaning, f"What to do: {self.action}")
        )
        head, foot = f"{self.code}: {self.title}", f"In the manual: {address(self.code)}"
        return f"{head}\n\n{example}\n\n{meaning}\n\n{action}\n\n{foot}"


def explanations(file: Path = FILE) -> dict[str, Explanation]:
    """Return the explanation of each code in a TOML file."""
    import tomllib

    tables = tomllib.loads(file.read_text(encoding="utf-8"))
    return {
        code: Explanation(code, **{name: text.strip() for name, text in table.items()})
        for code, table in tables.items()
    }


def code_of(error: BaseException) -> str:
    """Return the code of an exception's class; empty if it has none."""
    code = str(getattr(error, "code", ""))  # exceptions of other packages have codes of their own
    return code if code.startswith("TS") else ""


def nearest(code: str, known: dict[str, Explanation]) -> str:
    """Return ``: did you mean TS102?`` for an unknown code; empty if no known code has its group."""
    from difflib import SequenceMatcher
    from itertools import takewhile

    text = code.upper()

    def closeness(name: str) -> tuple[int, float]:
        same = takewhile(lambda pair: pair[0] == pair[1], zip(text, name, strict=False))
        return len(list(same)), SequenceMatcher(None, text, name).ratio()

    close = max(known, key=closeness)
    return f": did you mean {close}?" if closeness(close)[0] >= _GROUP else ""


def address(code: str) -> str:
    """Return the address of a code: below the manual's address, or relative to the manual if it has none."""
    manual = os.environ.get(VARIABLE, "") or MANUAL
    return f"{manual.rstrip('/')}/{PAGE}#{code.lower()}" if manual else f"{PAGE}#{code.lower()}"


def pointer(codes: tuple[str, ...], program: str) -> str:
    """Return the line that ends an error: the address in the manual, or the command that prints the text if the manual has no address."""
    if os.environ.get(VARIABLE, "") or MANUAL:
        return "\n".join(f"  {address(code)}" for code in codes)
    return f"  {program} explain {' '.join(codes)}" if codes else ""
