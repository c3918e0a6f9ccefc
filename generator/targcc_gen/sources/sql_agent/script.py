"""Read a T-SQL script of Agent jobs: calls of ``sp_add_job``, ``sp_add_jobstep``, ``sp_add_schedule`` and their relatives.

Management Studio writes such scripts (*Script Job as*, *CREATE To*). The calls are not executed: their arguments are read, with variables
that the script sets to texts and numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from targcc_gen.readers.rows import Unknown, Value
from targcc_gen.readers.tsql.scanner import Kind, Scanner, Token

_PARAMETERS = {
    "sp_add_job": "job_name enabled description start_step_id category_name category_id owner_login_name",
    "sp_update_job": "job_id job_name new_name enabled description start_step_id",
    "sp_add_jobstep": "job_id job_name step_id step_name subsystem command",
    "sp_add_jobschedule": "job_id job_name name enabled freq_type freq_interval freq_subday_type freq_subday_interval",
    "sp_add_schedule": "schedule_name enabled freq_type freq_interval freq_subday_type freq_subday_interval",
    "sp_attach_schedule": "job_id job_name schedule_id schedule_name",
    "sp_add_operator": "name enabled email_address",
    "sp_delete_job": "job_id job_name",
}
"""The procedures that are read, with the first parameters in order, for arguments without names."""
_OUTPUT = {"OUTPUT", "OUT"}


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a procedure.

    Attributes:
        procedure: The name, in lower case, without database and schema.
        values: The arguments by parameter name, in lower case.
        outputs: The variables of output parameters, by parameter name.
        line: The line of the call.
    """

    procedure: str
    values: dict[str, Value]
    outputs: dict[str, str]
    line: int


class Reference(str):
    """A value that a variable got from an output parameter: the variable's name and the number of the call that set it."""

    __slots__ = ()


def read_calls(text: str, file: str) -> Iterator[Call]:
    """Yield the calls of Agent's procedures in a script.

    Raises:
        Truncated: The script ends inside a string, a name or a comment.
    """
    return _Script(Scanner(iter([text]), file)).calls()


class _Script:
    def __init__(self, scanner: Scanner) -> None:
        self._scanner = scanner
        self._variables: dict[str, Value] = {}
        self._calls = 0

    def calls(self) -> Iterator[Call]:
        while (token := self._scanner.next()).kind is not Kind.END:
            if token.upper in {"EXEC", "EXECUTE"} or (
                token.kind is Kind.WORD and token.text.lower() in _PARAMETERS
            ):
                if token.upper not in {"EXEC", "EXECUTE"}:
                    self._scanner.push(token)
                call = self._call(token.line)
                if call is not None:
                    yield call
            elif token.upper in {"SET", "SELECT", "DECLARE"}:
                self._assignments()

    def _call(self, line: int) -> Call | None:
        name = self._procedure()
        if name not in _PARAMETERS:
            return None
        self._calls += 1
        values: dict[str, Value] = {}
        outputs: dict[str, str] = {}
        order = _PARAMETERS[name].split()
        place = 0
        while True:
            token = self._scanner.peek()
            parameter = order[place] if place < len(order) else f"#{place}"
            if token.kind is Kind.VARIABLE:
                self._scanner.next()
                if self._scanner.peek().text == "=":
                    self._scanner.next()
                    parameter = token.text[1:].lower()
                else:
                    self._scanner.push(token)
            variable = self._scanner.peek()
            value = self._value()
            if value is _NOTHING:
                break
            if self._scanner.peek().upper in _OUTPUT:
                self._scanner.next()
                if variable.kind is Kind.VARIABLE:
                    outputs[parameter] = variable.text.lower()
                    self._variables[variable.text.lower()] = Reference(
                        f"{variable.text.lower()}#{self._calls}"
                    )
                    value = self._variables[variable.text.lower()]
            values[parameter] = value
            place += 1
            if self._scanner.peek().text != ",":
                break
            self._scanner.next()
        return Call(name, values, outputs, line)

    def _procedure(self) -> str:
        """Return the last part of a procedure's name, in lower case; skip the variable of the return code."""
        token = self._scanner.next()
        if token.kind is Kind.VARIABLE:
            if self._scanner.peek().text != "=":
                return ""
            self._scanner.next()
            token = self._scanner.next()
        name = token.text
        while self._scanner.peek().text == ".":
            self._scanner.next()
            if self._scanner.peek().text == ".":  # msdb..sp_add_job
                continue
            name = self._scanner.next().text
        return name.lower() if token.kind in {Kind.WORD, Kind.NAME, Kind.QUOTED} else ""

    def _assignments(self) -> None:
        """Keep the variables that a SET, a SELECT or a DECLARE sets to plain values."""
        while True:
            token = self._scanner.peek()
            if token.kind is not Kind.VARIABLE:
                return
            self._scanner.next()
            name = token.text.lower()
            while self._scanner.peek().kind in {Kind.WORD, Kind.NAME, Kind.NUMBER} or self._scanner.peek().text in {"(", ")"}:  # fmt: skip
                if self._scanner.peek().upper in {"EXEC", "EXECUTE", "SET", "SELECT", "DECLARE", "IF", "BEGIN"}:  # fmt: skip
                    break
                self._scanner.next()  # the type
            if self._scanner.peek().text == "=":
                self._scanner.next()
                value = self._value()
                self._variables[name] = Unknown(name) if value is _NOTHING else value
            if self._scanner.peek().text != ",":
                return
            self._scanner.next()

    def _value(self) -> Value:
        """Return a value: a literal, a variable, or a sum of texts."""
        value = self._single()
        while value is not _NOTHING and self._scanner.peek().text == "+":
            self._scanner.next()
            second = self._single()
            if isinstance(value, str) and isinstance(second, str):
                value += second
            else:
                value = Unknown("an expression")
        return value

    def _single(self) -> Value:
        token = self._scanner.peek()
        if token.text == "-":
            self._scanner.next()
            number = self._single()
            return -number if isinstance(number, int) else Unknown("an expression")
        literal = _literal(token)
        if literal is not _NOTHING:
            self._scanner.next()
            return literal
        if token.kind is Kind.VARIABLE:
            self._scanner.next()
            name = token.text.lower()
            return self._variables.get(name, Unknown(token.text))
        return _NOTHING


_NOTHING = Unknown("")


def _literal(token: Token) -> Value:
    if token.kind is Kind.STRING:
        return token.text
    if token.kind is Kind.QUOTED:
        return token.text
    if token.kind is Kind.NUMBER:
        return int(token.text) if token.text.isdigit() else token.text
    if token.kind is Kind.BINARY:
        return token.text
    if token.upper in {"NULL", "DEFAULT"}:
        return None
    return _NOTHING
