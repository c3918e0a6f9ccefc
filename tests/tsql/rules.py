"""Rules for statements that parsers accept and SQL Server refuses.

Each rule reads the syntax tree of ``sqlglot`` and names SQL Server's error. A statement that ``sqlglot`` cannot read is a finding, too.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import sqlglot
from sqlglot import exp

Check: TypeAlias = Callable[[exp.Expression], Iterable[exp.Expression]]

MOST_PARAMETERS = 2_100
MOST_ROWS = 1_000


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


@dataclass(frozen=True)
class Rule:
    """A rule.

    Attributes:
        name: What a statement must not have.
        error: The number of SQL Server's message; 0 for a wrong result without a message.
        breaks: Returns the parts of a statement that break the rule.
        example: A statement that breaks the rule.
    """

    name: str
    error: int
    breaks: Check
    example: str

    def __str__(self) -> str:
        return f"{self.name} (error {self.error})"


@dataclass(frozen=True)
class Break:
    """A part of a statement that breaks a rule."""

    rule: Rule
    part: str


# Parts of a recursive CTE that refer to the CTE.


def _recursive_parts(tree: exp.Expression) -> Iterator[exp.Expression]:
    for cte in tree.find_all(exp.CTE):
        union = cte.this
        if isinstance(union, exp.Union) and _refers(union, cte.alias):
            yield from (part for part in _members(union) if _refers(part, cte.alias))


def _members(union: exp.Expression) -> Iterator[exp.Expression]:
    for side in (union.this, union.expression):
        if isinstance(side, exp.Union):
            yield from _members(side)
        else:
            yield side


def _refers(tree: exp.Expression, name: str) -> bool:
    return any(table.name.lower() == name.lower() for table in tree.find_all(exp.Table))


def _recursive_not_all(tree: exp.Expression) -> Iterator[exp.Expression]:
    for cte in tree.find_all(exp.CTE):
        if (
            isinstance(cte.this, exp.Union)
            and _refers(cte.this, cte.alias)
            and cte.this.args.get("distinct")
        ):
            yield cte


def _recursive(*kinds: type[exp.Expression]) -> Check:
    def breaks(tree: exp.Expression) -> Iterator[exp.Expression]:
        for part in _recursive_parts(tree):
            yield from (
                inner for inner in part.find_all(*kinds) if not inner.find_ancestor(exp.Exists)
            )

    return breaks


def _recursive_outer(tree: exp.Expression) -> Iterator[exp.Expression]:
    for part in _recursive_parts(tree):
        yield from (
            join for join in part.find_all(exp.Join) if join.side in {"LEFT", "RIGHT", "FULL"}
        )


def _recursive_top(tree: exp.Expression) -> Iterator[exp.Expression]:
    for part in _recursive_parts(tree):
        yield from (inner for inner in part.find_all(exp.Select) if inner.args.get("limit"))


def _recursive_in_query(tree: exp.Expression) -> Iterator[exp.Expression]:
    for cte in tree.find_all(exp.CTE):
        for part in _recursive_parts(exp.With(expressions=[cte.copy()])):
            for query in part.find_all(exp.Subquery, exp.Exists, exp.In):
                is_derived = isinstance(query.parent, exp.From | exp.Join)
                if not is_derived and _refers(query, cte.alias):
                    yield query


# Order.


def _has_limit(query: exp.Expression) -> bool:
    return any(query.args.get(name) for name in ("limit", "offset", "fetch", "for_", "for"))


def _ordered_query(tree: exp.Expression) -> Iterator[exp.Expression]:
    for order in tree.find_all(exp.Order):
        query = order.parent
        if not isinstance(query, exp.Query) or _has_limit(query):
            continue
        if query is not tree and not isinstance(query.parent, exp.Insert):
            yield query


def _ordered_twice(tree: exp.Expression) -> Iterator[exp.Expression]:
    for order in tree.find_all(exp.Order):
        if isinstance(order.parent, exp.Query):
            texts = Counter(term.this.sql("tsql").lower() for term in order.expressions)
            yield from (
                term for term in order.expressions if texts[term.this.sql("tsql").lower()] > 1
            )


def _order_of_distinct(tree: exp.Expression) -> Iterator[exp.Expression]:
    for select in tree.find_all(exp.Select):
        if not select.args.get("distinct") or not (order := select.args.get("order")):
            continue
        names = {part.alias_or_name.lower() for part in select.expressions}
        texts = {part.unalias().sql("tsql").lower() for part in select.expressions}
        for term in order.expressions:
            text = term.this.sql("tsql").lower()
            if text not in texts and not (
                isinstance(term.this, exp.Column) and term.this.name.lower() in names
            ):
                yield term


def _order_by_value(tree: exp.Expression) -> Iterator[exp.Expression]:
    for order in tree.find_all(exp.Order):
        for term in order.expressions:
            if isinstance(term.this, exp.Parameter | exp.Null) or (
                isinstance(term.this, exp.Literal) and isinstance(order.parent, exp.Window)
            ):
                yield term


# Groups.


def _group_terms(tree: exp.Expression) -> Iterator[exp.Expression]:
    for group in tree.find_all(exp.Group):
        yield from group.expressions


def _grouped_by_parameter(tree: exp.Expression) -> Iterator[exp.Expression]:
    return (term for term in _group_terms(tree) if term.find(exp.Parameter))


def _grouped_by_value(tree: exp.Expression) -> Iterator[exp.Expression]:
    return (term for term in _group_terms(tree) if not term.find(exp.Column, exp.Parameter))


def _grouped_by_query(tree: exp.Expression) -> Iterator[exp.Expression]:
    return (term for term in _group_terms(tree) if term.find(exp.Query, exp.AggFunc))


def _grouped_by_alias(tree: exp.Expression) -> Iterator[exp.Expression]:
    for select in tree.find_all(exp.Select):
        aliases = {
            part.alias.lower()
            for part in select.expressions
            if isinstance(part, exp.Alias)
            and not (
                isinstance(part.this, exp.Column) and part.this.name.lower() == part.alias.lower()
            )
        }
        group = select.args.get("group")
        for term in group.expressions if group else ():
            if isinstance(term, exp.Column) and not term.table and term.name.lower() in aliases:
                yield term


def _not_grouped(tree: exp.Expression) -> Iterator[exp.Expression]:
    """Yield columns of a grouped query that are neither grouped nor aggregated; PostgreSQL accepts columns that depend on a grouped key."""
    for select in tree.find_all(exp.Select):
        group = select.args.get("group")
        terms = {term.sql("tsql").lower() for term in group.expressions} if group else set()
        own = [source.alias_or_name.lower() for source in _sources(select)]
        if group is None and not any(_aggregates(select)):
            continue
        for part in [*select.expressions, *_having_and_order(select)]:
            yield from _ungrouped(part, terms, own, select)


def _having_and_order(select: exp.Select) -> Iterator[exp.Expression]:
    if having := select.args.get("having"):
        yield having
    if order := select.args.get("order"):
        aliases = {part.alias.lower() for part in select.expressions if isinstance(part, exp.Alias)}
        for term in order.expressions:
            if not (
                isinstance(term.this, exp.Column)
                and not term.this.table
                and term.this.name.lower() in aliases
            ):
                yield term


def _aggregates(select: exp.Select) -> Iterator[exp.Expression]:
    for part in select.expressions:
        for call in part.find_all(exp.AggFunc):
            if call.find_ancestor(exp.Select) is select and not isinstance(call.parent, exp.Window):
                yield call


def _sources(select: exp.Select) -> Iterator[exp.Expression]:
    if source := select.args.get("from_") or select.args.get("from"):
        yield source.this
    yield from (join.this for join in select.args.get("joins") or ())


def _ungrouped(
    part: exp.Expression, terms: set[str], own: list[str], select: exp.Select
) -> Iterator[exp.Expression]:
    if part.sql("tsql").lower() in terms or (
        isinstance(part, exp.AggFunc) and not isinstance(part.parent, exp.Window)
    ):
        return
    if isinstance(part, exp.Column):
        if part.table.lower() in own or (
            not part.table and len(own) == 1 and part.find_ancestor(exp.Select) is select
        ):
            yield part
        return
    for inner in part.iter_expressions():
        yield from _ungrouped(inner, terms, own, select)


def _aggregate_of_query(tree: exp.Expression) -> Iterator[exp.Expression]:
    for call in tree.find_all(exp.AggFunc):
        inner = [
            part
            for argument in call.iter_expressions()
            for part in argument.find_all(exp.AggFunc, exp.Query)
        ]
        if inner and not isinstance(call.parent, exp.Window):
            yield call


# Values.


def _no_value(tree: exp.Expression) -> Iterator[exp.Expression]:
    for case in tree.find_all(exp.Case):
        values = [branch.args.get("true") for branch in case.args["ifs"]] + [
            case.args.get("default")
        ]
        if all(value is None or isinstance(value, exp.Null) for value in values):
            yield case
    for call in tree.find_all(exp.Coalesce):
        if all(isinstance(value, exp.Null) for value in (call.this, *call.expressions)):
            yield call


def _kind(*kinds: type[exp.Expression]) -> Check:
    return lambda tree: tree.find_all(*kinds)


_CONDITIONS = (
    exp.Predicate,
    exp.And,
    exp.Or,
    exp.Not,
    exp.Exists,
    exp.In,
    exp.Between,
    exp.Is,
    exp.Like,
)


def _condition_as_value(tree: exp.Expression) -> Iterator[exp.Expression]:
    for select in tree.find_all(exp.Select):
        yield from (
            part for part in select.expressions if isinstance(part.unalias().unnest(), _CONDITIONS)
        )
    for case in tree.find_all(exp.Case):
        values = [branch.args.get("true") for branch in case.args["ifs"]] + [
            case.args.get("default")
        ]
        yield from (
            value
            for value in values
            if value is not None and isinstance(value.unnest(), _CONDITIONS)
        )
    for kind in (exp.Order, exp.Group):
        for clause in tree.find_all(kind):
            for term in clause.expressions:
                value = term.this if isinstance(term, exp.Ordered) else term
                if isinstance(value.unnest(), _CONDITIONS):
                    yield value


def _value_as_condition(tree: exp.Expression) -> Iterator[exp.Expression]:
    for clause in tree.find_all(exp.Where, exp.Having):
        yield from _bare(clause.this)
    for branch in tree.find_all(exp.If):
        if isinstance(branch.parent, exp.Case) and branch.parent.this is None:
            yield from _bare(branch.this)


def _bare(condition: exp.Expression) -> Iterator[exp.Expression]:
    condition = condition.unnest()
    if isinstance(condition, exp.And | exp.Or):
        yield from _bare(condition.left)
        yield from _bare(condition.right)
    elif isinstance(condition, exp.Not):
        yield from _bare(condition.this)
    elif isinstance(condition, exp.Column | exp.Parameter | exp.Literal | exp.Case | exp.Boolean):
        yield condition


def _rows_compared(tree: exp.Expression) -> Iterator[exp.Expression]:
    return (
        part for part in tree.find_all(exp.Tuple) if isinstance(part.parent, exp.Binary | exp.In)
    )


# Queries and lists.


def _unnamed_columns(tree: exp.Expression) -> Iterator[exp.Expression]:
    for source in tree.find_all(exp.Subquery, exp.CTE):
        if isinstance(source, exp.Subquery) and not isinstance(source.parent, exp.From | exp.Join):
            continue
        query = source.this
        while isinstance(query, exp.Union | exp.Subquery):
            query = query.this
        named = source.args.get("alias") and source.args["alias"].args.get("columns")
        if isinstance(query, exp.Select) and not named:
            names = [part.alias_or_name.lower() for part in query.expressions]
            counted = Counter(name for name in names if name != "*")
            yield from (
                part
                for part, name in zip(query.expressions, names, strict=True)
                if not name or counted[name] > 1
            )


def _same_alias(tree: exp.Expression) -> Iterator[exp.Expression]:
    for select in tree.find_all(exp.Select):
        counted = Counter(source.alias_or_name.lower() for source in _sources(select))
        yield from (
            source for source in _sources(select) if counted[source.alias_or_name.lower()] > 1
        )


def _many_parameters(tree: exp.Expression) -> Iterator[exp.Expression]:
    if sum(1 for _ in tree.find_all(exp.Parameter)) > MOST_PARAMETERS - 2:
        yield tree


def _many_rows(tree: exp.Expression) -> Iterator[exp.Expression]:
    for insert in tree.find_all(exp.Insert):
        if (
            isinstance(insert.expression, exp.Values)
            and len(insert.expression.expressions) > MOST_ROWS
        ):
            yield insert


def _query_in_output(tree: exp.Expression) -> Iterator[exp.Expression]:
    for output in tree.find_all(exp.Returning):
        yield from output.find_all(exp.Query, exp.AggFunc)


def _limit_without_order(tree: exp.Expression) -> Iterator[exp.Expression]:
    for query in tree.find_all(exp.Select):
        if query.args.get("offset") and not query.args.get("order"):
            yield query


FUNCTIONS = _words("""
    abs app_name applock_mode applock_test avg cast ceiling char charindex checksum coalesce concat concat_ws convert count count_big
    current_timestamp databasepropertyex dateadd datediff datediff_big datename datepart day db_id db_name dense_rank error_number exists floor format getdate
    getutcdate hashbytes host_name iif isnull json_modify json_query json_value isjson left len lower ltrim max min month nullif object_id
    openjson patindex power quotename rand rank replace replicate reverse right round row_number rtrim scope_identity serverproperty sign
    space sqrt stdev string_agg string_split stuff substring sum suser_sname switchoffset sysdatetime sysdatetimeoffset sysutcdatetime
    todatetimeoffset translate trim try_cast try_convert try_parse unicode upper user_name var year lag lead first_value last_value ntile
    """)
"""Functions of SQL Server 2017 that a statement may call."""


TYPES = _words("""
    bigint binary bit char date datetime datetime2 datetimeoffset decimal float image int integer money nchar numeric nvarchar real
    smalldatetime smallint smallmoney time tinyint uniqueidentifier varbinary varchar
    """)
"""Types of SQL Server that stand before a parenthesis or in a CAST."""
_CALL = re.compile(r"([\w.]+)\s*\(")
_TEXT = re.compile(r"'(?:[^']|'')*'|\[[^\]]*\]")
_NO_CALL = _words("""
    all and any as between by case check distinct else exists from in inserted into is join like not null on or output over partition
    primary key references select set table then top unique using values when where with then union except apply key nocheck index foreign include
    """)
"""Words that stand before a parenthesis without being a call."""


def unknown_functions(statement: str) -> list[str]:
    """Return the functions that a statement calls and SQL Server 2017 lacks. Reads the text, as the tree has names of its own for functions."""
    text = _TEXT.sub("''", statement)
    named = {
        name.lower()
        for name in re.findall(r"(?:AS|WITH|INTO|,|FROM)\s+(\w+)\s*\(", text, re.IGNORECASE)
    }
    names = {match[1].lower() for match in _CALL.finditer(text)}
    return sorted(names - FUNCTIONS - TYPES - _NO_CALL - named)


_AGGREGATES = (exp.Count, exp.Sum, exp.Max, exp.Min, exp.Avg, exp.GroupConcat)

RULES = (
    Rule("aggregate in the recursive part of a CTE", 467, _recursive(exp.Group, exp.Having, *_AGGREGATES), "WITH t AS (SELECT 1 AS n UNION ALL SELECT max(t.n) FROM t) SELECT n FROM t"),
    Rule("DISTINCT in the recursive part of a CTE", 460, _recursive(exp.Distinct), "WITH t AS (SELECT 1 AS n UNION ALL SELECT DISTINCT t.n + 1 AS n FROM t) SELECT n FROM t"),
    Rule("TOP in the recursive part of a CTE", 461, _recursive_top, "WITH t AS (SELECT 1 AS n UNION ALL SELECT TOP (1) t.n + 1 AS n FROM t) SELECT n FROM t"),
    Rule("outer join in the recursive part of a CTE", 462, _recursive_outer, "WITH t AS (SELECT 1 AS n UNION ALL SELECT a.n FROM t LEFT JOIN a ON a.n = t.n) SELECT n FROM t"),
    Rule("recursive reference in a subquery", 465, _recursive_in_query, "WITH t AS (SELECT 1 AS n UNION ALL SELECT a.n FROM a WHERE a.p IN (SELECT t.n FROM t)) SELECT n FROM t"),
    Rule("recursive CTE without UNION ALL", 252, _recursive_not_all, "WITH t AS (SELECT 1 AS n UNION SELECT t.n + 1 AS n FROM t) SELECT n FROM t"),
    Rule("ORDER BY in a subquery without TOP or OFFSET", 1033, _ordered_query, "SELECT a.n FROM (SELECT n FROM t ORDER BY n) AS a"),
    Rule("term twice in ORDER BY", 169, _ordered_twice, "SELECT a.n FROM a ORDER BY a.n, a.m, a.n DESC"),
    Rule("ORDER BY of a DISTINCT query by what is not selected", 145, _order_of_distinct, "SELECT DISTINCT a.n FROM a ORDER BY a.m"),
    Rule("ORDER BY a value", 408, _order_by_value, "SELECT a.n, row_number() OVER (ORDER BY 1) AS r FROM a"),
    Rule("OFFSET without ORDER BY", 102, _limit_without_order, "SELECT a.n FROM a OFFSET 5 ROWS"),
    Rule("parameter in GROUP BY", 8120, _grouped_by_parameter, "SELECT count(*) AS c FROM a GROUP BY a.n / @p"),
    Rule("value in GROUP BY", 164, _grouped_by_value, "SELECT count(*) AS c FROM a GROUP BY 1"),
    Rule("subquery in GROUP BY", 144, _grouped_by_query, "SELECT count(*) AS c FROM a GROUP BY (SELECT max(b.n) FROM b)"),
    Rule("alias in GROUP BY", 207, _grouped_by_alias, "SELECT a.n + 1 AS m, count(*) AS c FROM a GROUP BY m"),
    Rule("column neither grouped nor aggregated", 8120, _not_grouped, "SELECT a.n, a.m, count(*) AS c FROM a GROUP BY a.n"),
    Rule("aggregate of a subquery or of an aggregate", 130, _aggregate_of_query, "SELECT sum((SELECT b.n FROM b)) AS s FROM a"),
    Rule("CASE or COALESCE of NULLs alone", 8133, _no_value, "SELECT CASE WHEN a.n = 1 THEN NULL END AS m FROM a"),
    Rule("condition as a value", 102, _condition_as_value, "SELECT CASE WHEN a.n = 1 THEN a.m = 2 END AS m FROM a"),
    Rule("value as a condition", 4145, _value_as_condition, "SELECT a.n FROM a WHERE a.is_on AND a.n = 1"),
    Rule("TRUE or FALSE", 207, _kind(exp.Boolean), "UPDATE a SET is_on = true WHERE a.n = 1"),
    Rule("comparison of rows", 4145, _rows_compared, "SELECT a.n FROM a WHERE (a.n, a.m) IN (SELECT 1, 2)"),
    Rule("column of a derived table without a name, or with a name twice", 8155, _unnamed_columns, "SELECT t.n FROM (SELECT a.n, a.m + 1 FROM a) AS t"),
    Rule("two tables with the same name in FROM", 1012, _same_alias, "SELECT a.n FROM a JOIN a ON a.n = a.m"),
    Rule(f"more than {MOST_PARAMETERS:,} parameters", 8003, _many_parameters, f"SELECT a.n FROM a WHERE a.n IN ({', '.join(f'@p{n}' for n in range(MOST_PARAMETERS))})"),
    Rule(f"more than {MOST_ROWS:,} rows of VALUES in an INSERT", 10738, _many_rows, f"INSERT INTO a (n) VALUES {', '.join('(1)' for _ in range(MOST_ROWS + 1))}"),
    Rule("subquery or aggregate in OUTPUT", 10705, _query_in_output, "INSERT INTO a (n) OUTPUT (SELECT max(b.n) FROM b) VALUES (1)"),
    Rule("form of another database", 102, _kind(exp.ILike, exp.OnConflict, exp.Lock), "SELECT a.n FROM a WHERE a.t ILIKE 'x'"),
)  # fmt: skip


UNKNOWN = Rule(
    "function that SQL Server 2017 lacks",
    195,
    lambda _: (),
    "SELECT date_trunc('day', a.at) AS d FROM a",
)
"""The rule about the names of functions, which reads the text."""
_QUERY = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH)\b", re.IGNORECASE)


def breaks(statement: str) -> list[Break]:
    """Return the rules that a query or a change of rows breaks; other statements break none.

    Raises:
        sqlglot.errors.SqlglotError: The statement cannot be read.
    """
    if not _QUERY.match(statement):
        return []
    broken = [Break(UNKNOWN, name) for name in unknown_functions(statement)]
    trees = [tree for tree in sqlglot.parse(statement, read="tsql") if tree is not None]
    return broken + [
        Break(rule, part.sql("tsql")[:160])
        for tree in trees
        for rule in RULES
        for part in rule.breaks(tree)
    ]


# Keys of indexes, from the script for administrators.

MOST_KEY_BYTES = {"PRIMARY KEY": 900, "INDEX": 1_700}
_TABLE = re.compile(r"^CREATE TABLE (\w+) \((.*?)^\);?$", re.DOTALL | re.MULTILINE)
_COLUMN = re.compile(r"^    (\w+|\[\w+\]) (\w+(?:\([\w, ]+\))?)(.*?),?$", re.MULTILINE)
_ADDED = re.compile(r"^ALTER TABLE (\w+) ADD (\w+|\[\w+\]) (\w+(?:\(\w+\))?)(.*?);?$", re.MULTILINE)
_ALTERED = re.compile(
    r"^ALTER TABLE (\w+) ALTER COLUMN (\w+|\[\w+\]) (\w+(?:\(\w+\))?)(.*?);?$", re.MULTILINE
)
_KEY = re.compile(r"CONSTRAINT (\S+) (PRIMARY KEY|UNIQUE)(?: NONCLUSTERED| CLUSTERED)? \(([^)]*)\)")
_INDEX = re.compile(
    r"^CREATE (UNIQUE )?(?:NONCLUSTERED )?INDEX (\S+) ON (\w+) \((.*?)\)(?: INCLUDE \(.*?\))?(?: WHERE (.*?))?;?$",
    re.MULTILINE,
)
_BYTES = {
    "bigint": 8,
    "integer": 4,
    "int": 4,
    "smallint": 2,
    "bit": 1,
    "float": 8,
    "datetime": 8,
    "date": 3,
    "uniqueidentifier": 16,
}
_NO_FILTER = re.compile(r"\b(OR|LIKE|BETWEEN|CASE|NOT IN)\b|\w\(", re.IGNORECASE)
"""Parts that SQL Server refuses in the condition of a filtered index."""


def _bytes(kind: str) -> float:
    name, _, size = kind.lower().rstrip(")").partition("(")
    if size == "max":
        return float("inf")
    if name in {"nvarchar", "nchar"}:
        return 2 * int(size)
    if name in {"varchar", "char", "varbinary", "binary"}:
        return int(size)
    return _BYTES.get(name, 8)


def key_breaks(script: str) -> list[str]:
    """Return the indexes of a script of tables that SQL Server refuses, or whose rows it would refuse."""
    kinds: dict[tuple[str, str], tuple[float, bool]] = {}
    keys: list[tuple[str, str, str, str, str]] = []
    for table, body in _TABLE.findall(script):
        for name, kind, more in _COLUMN.findall(body):
            if name not in {"CONSTRAINT", "PRIMARY", "UNIQUE", "FOREIGN"}:
                kinds[table, name.strip("[]")] = _bytes(kind), "NOT NULL" not in more
        keys += [(table, name, kind, columns, "") for name, kind, columns in _KEY.findall(body)]
    for pattern in (_ADDED, _ALTERED):
        for table, name, kind, more in pattern.findall(script):
            if name != "CONSTRAINT":
                kinds[table, name.strip("[]")] = _bytes(kind), "NOT NULL" not in more
    keys += [
        (table, name, "UNIQUE INDEX" if unique else "INDEX", columns, where)
        for unique, name, table, columns, where in _INDEX.findall(script)
    ]
    return [problem for table, *key in keys for problem in _key_problems(kinds, table, key)]


def _key_problems(
    kinds: Mapping[tuple[str, str], tuple[float, bool]], table: str, key: Sequence[str]
) -> Iterator[str]:
    name, kind, columns, where = key
    names = [column.split()[0].strip("[]") for column in columns.split(",")]
    missing = [column for column in names if (table, column) not in kinds]
    if missing:
        yield f"{name}: unknown columns {', '.join(missing)}"
        return
    size, most = sum(kinds[table, column][0] for column in names), MOST_KEY_BYTES.get(kind, 1_700)
    if size > most:
        yield f"{name}: a key of {size:g} bytes, and at most {most:,} are allowed (error 1919 or 1946)"
    nullable = [column for column in names if kinds[table, column][1]]
    if kind.startswith("UNIQUE") and nullable and not where:
        yield f"{name}: a second NULL in {', '.join(nullable)} is a duplicate (error 2601)"
    if _NO_FILTER.search(where):
        yield f"{name}: the condition of a filtered index cannot be {where} (error 10735)"
