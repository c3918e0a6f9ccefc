"""A statement that the database's driver executes directly, see ``frequent.py``; SQLAlchemy compiles the statement once."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

Convert = Callable[[Any], Any]


class DriverStatement:
    """The compiled text and the type conversions of a statement.

    Args:
        statement: The statement to compile.
        dialect: The database's dialect, with the parameter style of the driver.
    """

    def __init__(self, statement: Any, dialect: sa.Dialect) -> None:
        compiled = statement.compile(dialect=dialect, compile_kwargs={"render_postcompile": True})
        self.text = str(compiled)
        self.names: Sequence[str] = compiled.positiontup or ()
        """The names of the parameters in the order of the text, where the text refers to parameters by number."""
        self._fixed: dict[str, Any] = compiled.params
        self._given = {
            name: convert
            for bind, name in compiled.bind_names.items()
            if (convert := bind.type.dialect_impl(dialect).bind_processor(dialect)) is not None
        }
        columns = () if isinstance(statement, sa.TextClause) else statement.exported_columns
        names = [column.key for column in columns]
        self._row: Any = namedtuple("Row", names, rename=True)  # type: ignore[misc]  # noqa: PYI024 - known only here
        self._found = [
            column.type.dialect_impl(dialect).result_processor(dialect, None) for column in columns
        ]

    def values(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Convert parameters to the driver's types."""
        values = {**self._fixed, **parameters}
        for name, convert in self._given.items():
            values[name] = convert(values[name])
        return values

    def named(self, found: Iterable[Iterable[Any]]) -> list[Any]:
        """Convert the driver's rows to named tuples of Python types."""
        return [self._row._make(map(_converted, self._found, row)) for row in found]


def _converted(convert: Convert | None, value: Any) -> Any:
    return value if convert is None else convert(value)
