"""Text as people's editors leave it: their line ends and byte order mark are theirs, and come back when a file is written."""

from __future__ import annotations

from dataclasses import dataclass

_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Style:
    """How a file on disk writes its text.

    Attributes:
        crlf: Whether most lines end in CR LF.
        bom: Whether it starts with a UTF-8 byte order mark.
    """

    crlf: bool = False
    bom: bool = False

    @classmethod
    def of(cls, content: bytes) -> Style:
        """The style of what is on disk."""
        if is_binary(content):
            return cls()
        crlf = content.count(b"\r\n")
        return cls(crlf=crlf * 2 > content.count(b"\n"), bom=content.startswith(_BOM))

    def restore(self, plain: bytes) -> bytes:
        """`plain` written in this style."""
        text = plain.replace(b"\n", b"\r\n") if self.crlf else plain
        return _BOM + text if self.bom else text


def is_binary(content: bytes) -> bool:
    """Whether `content` is no text; git looks for a NUL too."""
    return b"\0" in content


def plain(content: bytes) -> bytes:
    """Text without byte order mark and with `\\n` line ends; binary content as it is."""
    if is_binary(content):
        return content
    return content.removeprefix(_BOM).replace(b"\r\n", b"\n")


def lines_of(content: bytes) -> list[bytes]:
    """The lines with their ends; the last one ends too, so that nothing can be glued to it."""
    lines = content.split(b"\n")
    last = lines.pop()
    return [line + b"\n" for line in lines] + ([last + b"\n"] if last else [])
