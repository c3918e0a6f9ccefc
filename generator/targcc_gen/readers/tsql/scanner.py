"""Scan the tokens of a T-SQL script from a stream, in bounded memory.

The module has only the lexical rules of T-SQL: nested comments, ``''`` and ``]]``, ``GO`` on a separate line, lines for sqlcmd. A
token that reaches the end of the text in memory is scanned again with more text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import NamedTuple

from targcc_gen.readers.text import Truncated

_LOOKAHEAD = 1 << 16
# Text needed behind a token to be sure of the token: 1 may become 1e+5, $ may become $(name).
_MARGIN = 100
_MAX_TOKEN = 1 << 26


class Kind(StrEnum):
    """The kind of a token."""

    WORD = "word"
    """A bare word: keyword, name or function."""
    NAME = "name"
    """``[a name]``, without its brackets."""
    QUOTED = "quoted"
    """``"in double quotes"``: a name, or a string where QUOTED_IDENTIFIER is off."""
    STRING = "string"
    """``'text'`` or ``N'text'``, without its quotes."""
    NUMBER = "number"
    BINARY = "binary"
    """``0x00FF``."""
    VARIABLE = "variable"
    """``@name``."""
    OPERATOR = "operator"
    GO = "go"
    """The end of a batch; the text is the optional count."""
    DIRECTIVE = "directive"
    """A line for sqlcmd: ``:setvar``, ``:r``, ``!!``."""
    END = "end"


class Token(NamedTuple):
    """A token with its first line; ``upper`` is a word in capitals, empty for other kinds."""

    kind: Kind
    text: str
    line: int
    upper: str = ""


_TOKEN = re.compile(
    r"""(?P<space>\s++)
      | (?P<comment>--[^\n]*+)
      | (?P<block>/\*)
      | (?P<string>[Nn]?'(?:[^']++|'')*+')
      | (?P<name>\[(?:[^\]]++|\]\])*+\])
      | (?P<quoted>"(?:[^"]++|"")*+")
      | (?P<binary>0[xX][0-9A-Fa-f]*+)
      | (?P<number>(?:\d++(?:\.\d*+)?|\.\d++)(?:[eE][+-]?\d++)?)
      | (?P<variable>@[\w@#$]++)
      | (?P<word>[^\W\d][\w@#$]*+|\#[\w@#$]*+)
      | (?P<open>[Nn]?'|\[|")
      | (?P<operator>\$\(\w{1,90}+\)|.)
    """,
    re.VERBOSE | re.DOTALL,
)
_KINDS = {str(kind): kind for kind in Kind}
_COMMENT_EDGE = re.compile(r"/\*|\*/")
_GO_LINE = re.compile(r"[ \t]*(\d{0,9})[ \t]*;?[ \t]*(?:--[^\n]*)?(?=\r?\n|\Z)")
_LINE = re.compile(r"[^\n]*")
_OPENINGS = {"'": "a string", "[": "a bracketed name", '"': "a quoted name"}


class Scanner:
    """Reads the tokens of a script.

    Args:
        chunks: The script in pieces.
        file: The file's name, for errors.
    """

    def __init__(self, chunks: Iterator[str], file: str) -> None:
        self.file = file
        self.sqlcmd: dict[str, str] = {}
        self._chunks = chunks
        self._text = ""
        self._at = 0
        self._dropped = 0
        self._ended = False
        self._line = 1
        self._counted = 0
        self._fresh_line = True
        self._pushed: list[Token] = []

    @property
    def line(self) -> int:
        """The line of the next character."""
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        return self._line

    @property
    def offset(self) -> int:
        """The number of characters already read; meaningless while a token is pushed back."""
        return self._dropped + self._at

    def text_since(self, offset: int) -> str | None:
        """Return the text from an earlier ``offset`` to here; ``None`` if no longer in memory or a token is pushed back."""
        start = offset - self._dropped
        return self._text[start : self._at] if start >= 0 and not self._pushed else None

    def push(self, token: Token) -> None:
        """Push a token back; the next call of ``next`` returns the token."""
        self._pushed.append(token)

    def peek(self) -> Token:
        """Return the next token without consuming it."""
        token = self.next()
        self._pushed.append(token)
        return token

    def next(self) -> Token:
        """Consume and return the next token; at the end, every call returns a token of kind END.

        Raises:
            Truncated: The script ends inside a string, a name or a comment.
        """
        if self._pushed:
            return self._pushed.pop()
        while True:
            token = self._match_token()
            if token is None:
                return Token(Kind.END, "", self.line)
            group = token.lastgroup
            if group == "space":
                self._at = token.end()
                self._fresh_line = self._fresh_line or "\n" in token[0]
            elif group == "comment":
                self._at = token.end()
            elif group == "block":
                self._skip_block()
            else:
                return self._token(token)

    def match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """Match a pattern of up to 64 Ki characters here and consume the match.

        Returns:
            The match; ``None`` (consuming nothing) without a match, or while a token is pushed back.
        """
        if self._pushed:
            return None
        if not self._ended and len(self._text) - self._at < _LOOKAHEAD:
            self._fill(_LOOKAHEAD)
        match = pattern.match(self._text, self._at)
        if match is None or (match.end() == len(self._text) and not self._ended):
            return None
        self._at = match.end()
        self._fresh_line = False
        return match

    def _match_token(self) -> re.Match[str] | None:
        while True:
            match = _TOKEN.match(self._text, self._at)
            complete = (
                match and match.end() + _MARGIN < len(self._text) and match.lastgroup != "open"
            )
            if complete or (self._ended and match and match.lastgroup != "open"):
                return match
            if self._ended:
                if match:
                    raise Truncated(self.file, self.line, _OPENINGS[match[0][-1]])
                return None
            self._fill(2 * (len(self._text) - self._at) + _MARGIN)

    def _fill(self, wanted: int) -> None:
        """Load text until ``wanted`` characters are ahead in memory, or the script ends."""
        if wanted > _MAX_TOKEN:
            raise Truncated(self.file, self.line, "a string or comment")
        _ = self.line
        pieces, have = [self._text[self._at :]], len(self._text) - self._at
        while have <= wanted and not self._ended:
            piece = next(self._chunks, None)
            if piece is None:
                self._ended = True
            else:
                pieces.append(piece)
                have += len(piece)
        self._text = "".join(pieces)
        self._dropped += self._at
        self._at = self._counted = 0

    def _skip_block(self) -> None:
        begun, depth = self.line, 0
        while True:
            match = _COMMENT_EDGE.search(self._text, self._at)
            if match:
                depth += 1 if match[0] == "/*" else -1
                self._at = match.end()
                if depth == 0:
                    return
            elif self._ended:
                raise Truncated(self.file, begun, "a comment")
            else:
                self._at = max(self._at, len(self._text) - 1)
                self._fill(_LOOKAHEAD)

    def _token(self, match: re.Match[str]) -> Token:
        group, text, line = match.lastgroup or "", match[0], self.line
        fresh, self._fresh_line = self._fresh_line, False
        self._at = match.end()
        if group == "word":
            return self._word(text, line, fresh=fresh)
        if unquoted := _UNQUOTED.get(group):
            return Token(_KINDS[group], self._substitute(unquoted(text)), line)
        if fresh and (text == ":" or (text == "!" and self._text.startswith("!", self._at))):
            rest = self.match(_LINE)
            return Token(Kind.DIRECTIVE, text + (rest[0] if rest else ""), line)
        if group == "operator" and len(text) > 1:
            return Token(Kind.WORD, self._substitute(text), line)
        return Token(_KINDS[group], text, line)

    def _word(self, text: str, line: int, *, fresh: bool) -> Token:
        upper = text.upper()
        if upper == "GO" and fresh and (count := self.match(_GO_LINE)):
            self._fresh_line = True
            return Token(Kind.GO, count[1], line)
        return Token(Kind.WORD, text, line, upper)

    def _substitute(self, text: str) -> str:
        if "$(" not in text or not self.sqlcmd:
            return text
        return re.sub(
            r"\$\((\w+)\)", lambda match: self.sqlcmd.get(match[1].lower(), match[0]), text
        )


def dotted(scanner: Scanner, token: Token) -> str:
    """Consume the name ``db.schema.name`` (or ``db..name``) that begins with ``token``; return the last part."""
    name = token.text
    while scanner.peek().text == "." and scanner.peek().kind is Kind.OPERATOR:
        scanner.next()
        if scanner.peek().text != ".":
            name = scanner.next().text
    return name


def unquote(literal: str) -> str:
    """Return the text of a T-SQL string literal: ``N'O''Brien'`` is ``O'Brien``."""
    start = 1 if literal[0] == "'" else 2
    inner = literal[start:-1]
    return inner.replace("''", "'") if "''" in inner else inner


_UNQUOTED: dict[str, Callable[[str], str]] = {
    "string": unquote,
    "name": lambda text: text[1:-1].replace("]]", "]"),
    "quoted": lambda text: text[1:-1].replace('""', '"'),
}
