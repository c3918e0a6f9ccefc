"""UPDATE and DELETE of a script: not carried out, but told with the rows that they change."""

from __future__ import annotations

from targcc_gen.readers.tsql.scanner import Kind, Scanner, Token

_LONGEST = 400
_ENDS = {
    "INSERT", "CREATE", "ALTER", "DECLARE", "UPDATE", "DELETE", "MERGE", "EXEC", "EXECUTE", "PRINT", "IF", "SELECT", "SET",
    "USE", "BEGIN", "WITH",
}  # fmt: skip


class Changing:
    """What an UPDATE or DELETE says.

    Attributes:
        columns: The columns that it sets, as written.
        where: The column that chooses the rows, in lower case, and its values; None where that is not so simple.
        condition: All behind WHERE, as words.
    """

    def __init__(self) -> None:
        self.columns: list[str] = []
        self.where: tuple[str, tuple[str, ...]] | None = None
        self.condition = ""


def read_change(scanner: Scanner) -> Changing:
    """Read what stands behind the name of the table, up to the statement's end.

    Args:
        scanner: Behind the table's name.
    """
    found = Changing()
    if scanner.peek().upper == "SET":
        scanner.next()
        _read_set(scanner, found)
    if scanner.peek().upper == "WHERE":
        scanner.next()
        tokens = list(_tokens(scanner))
        found.condition = " ".join(_shown(token) for token in tokens)
        found.where = _simple(tokens)
    return found


def _read_set(scanner: Scanner, found: Changing) -> None:
    depth, begins = 0, True
    for _ in range(_LONGEST):
        token = scanner.peek()
        if depth <= 0 and (token.upper in {"WHERE", "FROM"} or _is_end(token)):
            return
        scanner.next()
        if begins and token.kind in {Kind.NAME, Kind.WORD} and scanner.peek().text == "=":
            found.columns.append(token.text)
        begins = depth == 0 and token.text in {",", "."}
        depth += {"(": 1, ")": -1}.get(token.text, 0) if token.kind is Kind.OPERATOR else 0


def _tokens(scanner: Scanner) -> list[Token]:
    tokens: list[Token] = []
    while len(tokens) < _LONGEST and not _is_end(scanner.peek()):
        tokens.append(scanner.next())
    return tokens


def _is_end(token: Token) -> bool:
    ends = token.kind in {Kind.END, Kind.GO, Kind.DIRECTIVE} or token.text == ";"
    return ends or token.upper in _ENDS


def _simple(tokens: list[Token]) -> tuple[str, tuple[str, ...]] | None:
    """``[ID] = 7`` or ``ID IN (7, 8)``, also in parentheses."""
    words = [
        token
        for token in tokens
        if token.text not in {"(", ")", ","} or token.kind is not Kind.OPERATOR
    ]
    names = {Kind.NAME, Kind.WORD}
    while len(words) > 2 and words[1].text == ".":  # noqa: PLR2004 - a table's alias and its dot
        words = words[2:]
    if len(words) < 3 or words[0].kind not in names:  # noqa: PLR2004 - column, sign, value
        return None
    values = words[2:]
    if not (words[1].text == "=" or words[1].upper == "IN"):
        return None
    if not all(value.kind in {Kind.NUMBER, Kind.STRING} for value in values):
        return None
    return words[0].text.lower(), tuple(value.text for value in values)


def _shown(token: Token) -> str:
    return f"'{token.text}'" if token.kind is Kind.STRING else token.text
