"""T-SQL: forms of expressions and statements that SQLAlchemy's compiler for SQL Server lacks."""

# ruff: noqa: SLF001 - a compiler reads the parts of SQLAlchemy's statements

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.mssql.base import MSSQLCompiler
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql import operators, visitors
from sqlalchemy.sql.dml import Insert as PlainInsert
from sqlalchemy.sql.elements import (
    AsBoolean,
    BinaryExpression,
    BooleanClauseList,
    ClauseList,
    UnaryExpression,
)

from ..columns import elapsed, joined_texts, whole_seconds
from .frequent import is_among, is_in_list

MOST_PARAMETERS = 2_000
"""Most parameters of a statement, below the server's limit of 2,100."""

# T-SQL: forms of expressions that SQLAlchemy's own compiler leaves as they are on PostgreSQL.

_SHARED = "WITH (REPEATABLEREAD, ROWLOCK)"
_LOCKED, _SKIPPED = "WITH (UPDLOCK, ROWLOCK)", "WITH (UPDLOCK, ROWLOCK, READPAST)"
_PREDICATES = (BooleanClauseList, AsBoolean, is_among, is_in_list)


def _is_predicate(element: Any) -> bool:
    """Return whether an expression is a condition, which T-SQL has no type for."""
    while isinstance(element, sa.Label) or type(element).__name__ == "Grouping":
        element = element.element
    if isinstance(element, _PREDICATES):
        return True
    if isinstance(element, UnaryExpression):
        return element.operator in {operators.exists, operators.inv} or (
            element.operator is None and _is_predicate(element.element)
        )
    return isinstance(element, BinaryExpression) and operators.is_comparison(element.operator)


def _bit(condition: Any) -> sa.ColumnElement[bool]:
    """Return a condition as a value: 1 or 0."""
    value = sa.case((condition, sa.literal_column("1")), else_=sa.literal_column("0"))
    return sa.cast(value, sa.Boolean)


def _groups(select: Any) -> list[Any]:
    """Return the expressions of GROUP BY, without their labels; SQLAlchemy wraps a function in a list."""
    parts: list[Any] = []
    for clause in getattr(select, "_group_by_clauses", ()):
        parts += clause.clauses if type(clause) is ClauseList else [clause]
    return [part.element if isinstance(part, sa.Label) else part for part in parts]


_EQUALITIES = frozenset({operators.eq, operators.ne})


def _value(element: Any) -> Any:
    """Return a condition as a number: 1, 0 or NULL; another expression unchanged."""
    if not _is_predicate(element):
        return element
    yes: sa.ColumnElement[Any] = sa.literal_column("1")
    no: sa.ColumnElement[Any] = sa.literal_column("0")
    return sa.case((element, yes), (sa.not_(element), no))


def _condition(element: Any) -> Any:
    """Return ``COALESCE`` of conditions as a condition; another expression unchanged."""
    inner = element
    while type(inner).__name__ == "Grouping":
        inner = inner.element
    is_bit = isinstance(inner, sa.Function) and any(map(_is_predicate, inner.clauses))
    return inner == sa.literal_column("1") if is_bit else element


def _literals_in_groups(select: Any) -> Any:
    """Write the parameters of ``GROUP BY`` into the statement, as the server takes two equal expressions with parameters for different."""
    keys = {
        part.key
        for clause in select._group_by_clauses
        for part in visitors.iterate(clause)
        if isinstance(part, sa.BindParameter)
    }
    if not keys:
        return select

    def literal(part: Any, **_: Any) -> Any:
        is_one = isinstance(part, sa.BindParameter) and part.key in keys
        return part.render_literal_execute() if is_one and not part.literal_execute else None

    return visitors.replacement_traverse(select, {}, literal)  # type: ignore[call-overload]  # as SQLAlchemy has it


_ORDERS = {
    operators.lt: operators.lt,
    operators.gt: operators.gt,
    operators.le: operators.lt,
    operators.ge: operators.gt,
}
"""The operators that order two rows, each with the operator for a first value that decides."""


def _ordered(left: Any, right: Any, operator: Any) -> sa.ColumnElement[bool]:
    (a, *more_left), (b, *more_right) = list(left.clauses), list(right.clauses)
    if not more_left:
        last: sa.ColumnElement[bool] = operator(a, b)
        return last
    rest = _ordered(sa.tuple_(*more_left), sa.tuple_(*more_right), operator)
    return sa.or_(_ORDERS[operator](a, b), sa.and_(a == b, rest))


class TSQL(MSSQLCompiler):
    """SQLAlchemy's compiler, with row locks as table hints, conditions as values, and instants in UTC."""

    def translate_select_structure(self, select_stmt: Any, **kwargs: Any) -> Any:
        """Render ``FOR UPDATE`` as hints of the locked tables."""
        select_stmt = _literals_in_groups(select_stmt)
        locks = select_stmt._for_update_arg
        if locks is not None:
            hint = _SKIPPED if locks.skip_locked else _SHARED if locks.read else _LOCKED
            tables = locks.of or select_stmt.columns_clause_froms
            select_stmt = select_stmt._generate()
            select_stmt._for_update_arg = None
            for source in tables:
                table = getattr(source, "table", source)
                select_stmt = select_stmt.with_hint(table, hint, "mssql")
        return super().translate_select_structure(select_stmt, **kwargs)  # type: ignore[no-untyped-call]

    def _use_top(self, select: Any) -> bool:
        """Return whether TOP renders the limit, so that a subquery keeps its order."""
        return select._offset_clause is None and select._limit_clause is not None

    def get_select_precolumns(self, select: Any, **kw: Any) -> str:
        """Render DISTINCT and TOP."""
        text = "DISTINCT " if select._distinct else ""
        if self._use_top(select):
            text += f"TOP ({self.process(select._limit_clause, **kw)}) "
        return text

    def _label_select_column(self, select: Any, column: Any, *args: Any, **kwargs: Any) -> Any:
        """Render a condition among the columns as a bit."""
        if _is_predicate(column):
            condition = column.element if isinstance(column, sa.Label) else column
            bit = _bit(condition)
            column = bit.label(column.name) if isinstance(column, sa.Label) else bit
        return super()._label_select_column(select, column, *args, **kwargs)  # type: ignore[no-untyped-call]

    def group_by_clause(self, select: Any, **kw: Any) -> str:
        """Render a condition of GROUP BY as a bit, as among the columns."""
        groups = [_bit(part) if _is_predicate(part) else part for part in _groups(select)]
        texts = [self.process(part, **kw) for part in groups]
        return f" GROUP BY {', '.join(texts)}" if texts else ""

    def visit_in_op_binary(self, binary: Any, operator: Any, **kw: Any) -> str:
        """Render a row that is among rows, as T-SQL compares single values alone."""
        del operator
        if not isinstance(binary.left, sa.Tuple):
            return str(self._generate_generic_binary(binary, " IN ", **kw))
        columns = list(binary.left.clauses)
        names = [f"value_{n}" for n in range(len(columns))]
        same = " AND ".join(
            f"among.{name} = {self.process(column, **kw)}"
            for name, column in zip(names, columns, strict=True)
        )
        rows = self.process(binary.right, **kw)
        return f"EXISTS (SELECT 1 FROM {rows} AS among ({', '.join(names)}) WHERE {same})"  # noqa: S608

    def visit_binary(self, binary: Any, override_operator: Any = None, **kw: Any) -> str:  # type: ignore[override]
        """Render the order of two rows as comparisons of their values."""
        operator = override_operator or binary.operator
        if operator in _EQUALITIES and (_is_predicate(binary.left) or _is_predicate(binary.right)):
            binary = BinaryExpression(
                _value(binary.left), _value(binary.right), operator, binary.type
            )
        if isinstance(binary.left, sa.Tuple) and operator in _ORDERS:
            return self.process(_ordered(binary.left, binary.right, operator).self_group(), **kw)
        return str(super().visit_binary(binary, override_operator=override_operator, **kw))  # type: ignore[no-untyped-call]

    def visit_coalesce_func(self, fn: Any, **kw: Any) -> str:
        """Render conditions among the arguments as bits."""
        return f"coalesce({', '.join(self.process(_value(part), **kw) for part in fn.clauses)})"

    def visit_case(self, clause: Any, **kw: Any) -> str:
        """Render conditions among the results as bits."""
        results = [result for _, result in clause.whens]
        if any(map(_is_predicate, [*results, clause.else_])):
            whens = [(condition, _value(result)) for condition, result in clause.whens]
            clause = sa.case(*whens, value=clause.value, else_=_value(clause.else_))
        return str(super().visit_case(clause, **kw))  # type: ignore[no-untyped-call]

    def _generate_delimited_list(self, elements: Any, separator: Any, **kw: Any) -> str:
        """Compare a bit among conditions with 1."""
        if separator in {" AND ", " OR "}:
            elements = tuple(map(_condition, elements))
        return str(super()._generate_delimited_list(elements, separator, **kw))  # type: ignore[no-untyped-call]

    def _generate_delimited_and_list(self, clauses: Any, **kw: Any) -> str:
        """Compare a bit among conditions with 1, also if the condition stands alone."""
        return str(super()._generate_delimited_and_list(tuple(map(_condition, clauses)), **kw))  # type: ignore[no-untyped-call]

    def _generate_prefixes(self, stmt: Any, prefixes: Any, **kw: Any) -> str:
        """Leave out hints of other databases for the planner."""
        kept = [item for item in prefixes if str(item[0]) != "MATERIALIZED"]
        return str(super()._generate_prefixes(stmt, kept, **kw))  # type: ignore[no-untyped-call]

    def visit_now_func(self, fn: Any, **kw: Any) -> str:
        """Render the time in UTC: CURRENT_TIMESTAMP is the server's local time."""
        del fn, kw
        return "SYSUTCDATETIME()"

    visit_current_timestamp_func = visit_now_func

    def visit_length_func(self, fn: Any, **kw: Any) -> str:
        """Render the length of a text."""
        return f"LEN{self.function_argspec(fn, **kw)}"

    def visit_substr_func(self, fn: Any, **kw: Any) -> str:
        """Render a part of a text."""
        return f"SUBSTRING{self.function_argspec(fn, **kw)}"

    def visit_funcfilter(self, funcfilter: Any, **kwargs: Any) -> str:
        """Render a conditional aggregate, as T-SQL has no FILTER."""
        fn = funcfilter.func
        arguments = [part for part in fn.clauses if str(part) != "*"] or [sa.literal_column("1")]
        inner = sa.case((funcfilter.criterion, arguments[0]))
        return f"{fn.name}({self.process(inner, **kwargs)})"

    def visit_bindparam(self, bindparam: Any, *args: Any, **kwargs: Any) -> str:
        """Render bytes with their type: a missing value is a text, which the server does not convert to bytes by itself."""
        text = str(super().visit_bindparam(bindparam, *args, **kwargs))  # type: ignore[no-untyped-call]
        if isinstance(bindparam.type, sa.LargeBinary) and not bindparam.expanding:
            return f"CAST({text} AS varbinary(max))"
        return text

    def visit_like_op_binary(self, binary: Any, operator: Any, **kw: Any) -> str:
        """Render LIKE; a bracket, which begins a set of characters in T-SQL alone, stands for itself."""
        del operator
        return self._like("LIKE", binary, **kw)

    def visit_not_like_op_binary(self, binary: Any, operator: Any, **kw: Any) -> str:
        """Render NOT LIKE; see :meth:`visit_like_op_binary`."""
        del operator
        return self._like("NOT LIKE", binary, **kw)

    def _like(self, words: str, binary: Any, **kw: Any) -> str:
        escape = binary.modifiers.get("escape")
        column, pattern = self.process(binary.left, **kw), self.process(binary.right, **kw)
        bracket = "[[]" if escape is None else f"{escape}["
        end = "" if escape is None else f" ESCAPE '{escape}'"
        return f"{column} {words} REPLACE({pattern}, '[', '{bracket}'){end}"

    def visit_nulls_last_op_unary_operator(self, element: Any, operator: Any, **kw: Any) -> str:
        """Sort NULLs last: first by whether the value is missing."""
        del operator
        value = (
            element.element.element
            if isinstance(element.element, UnaryExpression)
            else element.element
        )
        text = self.process(value, **kw)
        return f"CASE WHEN {text} IS NULL THEN 1 ELSE 0 END, {self.process(element.element, **kw)}"

    visit_nulls_last_op_unary_modifier = visit_nulls_last_op_unary_operator


@compiles(is_among, "mssql")
def _among(element: is_among, compiler: Any, **options: Any) -> str:
    column, values = element.clauses
    kind = values.type.item().dialect_impl(compiler.dialect)  # type: ignore[attr-defined]
    text = compiler.dialect.type_compiler_instance.process(
        kind if not isinstance(kind, sa.Text) else sa.Unicode()
    )
    return (
        f"({compiler.process(column, **options)} IN (SELECT value FROM OPENJSON({compiler.process(values, **options)})"  # noqa: S608
        f" WITH (value {text} '$')))"
    )


def _seconds_by(divisor: str) -> Callable[..., str]:
    """Return a function that renders the milliseconds between two instants, divided: by a float, or by an integer for whole seconds."""

    def rendered(element: elapsed | whole_seconds, compiler: Any, **options: Any) -> str:
        begin, end = (compiler.process(clause, **options) for clause in element.clauses)
        return f"(DATEDIFF_BIG(millisecond, {begin}, {end}) / {divisor})"

    return rendered


compiles(elapsed, "mssql")(_seconds_by("1000.0"))
compiles(whole_seconds, "mssql")(_seconds_by("1000"))


@compiles(joined_texts, "mssql")
def _string_agg(element: joined_texts, compiler: Any, **options: Any) -> str:
    texts, separator = (compiler.process(clause, **options) for clause in element.clauses)
    return f"STRING_AGG(CAST({texts} AS nvarchar(max)), {separator})"  # of a shorter type it fails above 8,000 bytes


# Inserts that meet an existing row: T-SQL has no ON CONFLICT, and MERGE has too many faults.

_VALUES = re.compile(
    r"^(?P<into>INSERT INTO (?P<table>\S+) \((?P<columns>[^)]*)\))(?P<output> OUTPUT .*?)? (?P<values>VALUES .*)$",
    re.DOTALL,
)


class GuardedInsert(PlainInsert):
    """An insert that leaves, replaces or adds to an existing row with the same keys; see :class:`~.base.Dialect`."""

    inherit_cache = False
    keys: tuple[str, ...] = ()
    changes: Mapping[str, str] = {}
    """Assignments of the existing row, with ``{old}`` and ``{new}`` for the two values."""


def guarded(
    table: sa.Table, keys: Sequence[sa.Column[Any]], changes: Mapping[str, str] = {}
) -> GuardedInsert:
    """Build a guarded insert."""
    statement = GuardedInsert(table)
    statement.keys = tuple(str(key.name) for key in keys)
    statement.changes = dict(changes)
    return statement


@compiles(GuardedInsert, "mssql")
def _guarded(element: GuardedInsert, compiler: Any, **options: Any) -> str:
    """Render UPDATE of the existing rows, then INSERT of the others, from one list of values."""
    match = _VALUES.match(compiler.visit_insert(element, **options).strip())
    assert match is not None, "an insert of values"
    table, columns, values = match["table"], match["columns"], match["values"]
    rows = f"({values}) AS given ({columns})"
    same = " AND ".join(f"present.{key} = given.{key}" for key in element.keys)
    insert = (
        f"{match['into']}{match['output'] or ''} SELECT {', '.join(f'given.{name.strip()}' for name in columns.split(','))} FROM {rows}"  # noqa: S608
        f" WHERE NOT EXISTS (SELECT 1 FROM {table} AS present WITH (UPDLOCK, HOLDLOCK) WHERE {same})"
    )
    if not element.changes:
        return insert
    sets = ", ".join(
        f"{name} = {text.format(old=f'present.{name}', new=f'given.{name}')}"
        for name, text in element.changes.items()
    )
    return f"UPDATE present SET {sets} FROM {table} AS present WITH (UPDLOCK, HOLDLOCK) JOIN {rows} ON {same}; {insert}"  # noqa: S608
