"""Collect the statements that the scheduler executes in tests, compiled for SQL Server by the scheduler's own rules.

A statement is compiled where SQLAlchemy has executed it on SQLite or PostgreSQL. Parts that the dialect of the database has built, such as an
insert that meets an existing row, are built again by the dialect of SQL Server from the same arguments. Each process of the tests writes a file.
"""

from __future__ import annotations

import ast
import functools
import inspect
import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any, TypeAlias

import greenlet
import sqlalchemy as sa
from sqlalchemy.sql import visitors
from sqlalchemy.sql.dml import Insert
from sqlalchemy.sql.elements import ReleaseSavepointClause
from targcc_scheduler.db.dialects import base, known
from targcc_scheduler.db.dialects.frequent import FrequentStatement

Place: TypeAlias = tuple[str, int, frozenset[str]]
"""File, line, and the functions of the file on the way to the line."""

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".pytest_cache" / "tsql"
"""Where the processes of the tests write their files."""
PRODUCT = ROOT / "templates" / "scheduler" / "targcc_scheduler"
OTHERS = (
    "sqlite",
    "sqlite_driver",
    "sqlite_locks",
    "postgresql",
    "postgresql_locks",
    "psycopg_driver",
)
"""Modules of ``db/dialects`` that hold the statements of a single database."""
ALONE = frozenset(
    {
        *(f"db/dialects/{name}.py" for name in OTHERS),
        *("kernel/engine/procrastinate.py", "kernel/engine/procrastinate_schema.py"),
    }
)
"""Files whose statements SQL Server never executes."""
HELPERS = frozenset(
    {
        *(
            f"db/dialects/{name}.py"
            for name in ("frequent", "sqlite_driver", "psycopg_driver", "base")
        ),
        *("db/transactions.py", "db/caller_transaction.py", "core/loop_thread.py"),
    }
)
"""Files that execute the statements of their callers."""
_SOURCES = frozenset({"sqlite", "postgresql"})
GUARDED = {
    ("kernel/runs/transition.py", "_settle_at_once"): "changes_in_ctes",
    ("kernel/limits.py", "hold"): "changes_in_ctes",
}
"""Functions that run only where an attribute of the dialect is true."""
_DOCTOR = "features/doctor/databases.py"
OF_POSTGRESQL = frozenset(
    {
        *((_DOCTOR, name) for name in ("check_postgresql", "tables", "_session", "sequences")),
        *((_DOCTOR, name) for name in ("write_postgresql", "_write_postgresql")),
        *(
            ("services/procedures.py", "look_up"),
            ("services/procedure_rights.py", "procedure_right"),
        ),
    }
)
"""Functions that run on PostgreSQL alone, as checks of its catalogue; SQL Server has functions of its own."""
_CATALOGUE = ("pg_catalog.", "sqlite_master")
"""What SQLAlchemy's inspectors read."""
_BY_A_TEST = "pg_advisory_xact_lock_shared"
"""What tests write into statements of the scheduler, to make them wait."""
_DDL = ("CREATE ", "ALTER ", "DROP ", "COMMENT ")
_BUILT = "_built_by"
"""The attribute of an expression that a dialect has built: the method, its arguments, and the id of the expression."""
_TEXTS = ("find",)
"""Methods of the index of texts, which SQL Server lacks."""
_LIST = re.compile(r"\(__\[POSTCOMPILE_(\w+?)(?:~~.*?~~)?\]\)")
_PARAMETER = re.compile(r"%\((\w+)\)s")


@dataclass(frozen=True)
class Collected:
    """A statement.

    Attributes:
        place: File and line of the scheduler that executed the statement.
        tsql: The statement for SQL Server; empty if it is not executed there or cannot be compiled.
        alone: Why SQL Server never executes the statement; empty if it does.
        error: Why the statement cannot be compiled for SQL Server.
        source: The statement as executed in the tests.
    """

    place: str
    tsql: str
    alone: str
    error: str
    source: str


class Collector:
    """Collects the statements of a process."""

    def __init__(self) -> None:
        self._seen: set[str] = set()
        self.collected: list[Collected] = []

    def executed(
        self, connection: sa.Connection, _cursor: Any, text: str, _parameters: Any, context: Any, _many: Any
    ) -> None:  # fmt: skip
        """Collect a statement that SQLAlchemy is about to execute."""
        if connection.dialect.name not in _SOURCES:
            return
        compiled = getattr(context, "compiled", None)
        self.add(compiled if compiled is not None else text)

    def add(self, compiled: Any) -> None:
        """Collect a compiled statement, or the text of one, unless a test has executed it itself."""
        source = compiled if isinstance(compiled, str) else compiled.string
        if source in self._seen or _BY_A_TEST in source:
            return
        place = _place()
        if place is None:
            return  # the next execution may be the scheduler's
        self._seen.add(source)
        file, line, functions = place
        alone = _alone(compiled, source, file, functions)
        tsql = error = ""
        if not alone:
            try:
                tsql = for_server(compiled)
            except Exception as problem:  # noqa: BLE001 - any problem is the finding
                error = f"{type(problem).__name__}: {problem}"
        self.collected.append(Collected(f"{file}:{line}", tsql, alone, error, source))

    def write(self, folder: Path = FOLDER) -> None:
        """Write the file of this process, which replaces the file of an earlier run."""
        if not self.collected:
            return
        folder.mkdir(parents=True, exist_ok=True)
        name = f"{os.environ.get('PYTEST_XDIST_WORKER', 'main')}-{os.getpid()}.jsonl"
        for place, statement in _built_by_name("mssql"):
            text = plain(str(statement.compile(dialect=server())))
            self.collected.append(Collected(place, text, "", "", text))
        lines = "".join(f"{json.dumps(asdict(item))}\n" for item in self.collected)
        (folder / name).write_text(lines, encoding="utf-8")


# The place of a statement.


def _frames() -> Iterator[FrameType]:
    """Yield the frames from the inside, through the greenlets in which SQLAlchemy runs its sync code."""
    frame: FrameType | None = sys._getframe(2)
    here: Any = greenlet.getcurrent()
    while frame is not None:
        yield frame
        frame = frame.f_back
        if frame is None and here.parent is not None:
            here = here.parent
            frame = here.gr_frame


def _place() -> Place | None:
    """Return the place in the scheduler that executes; ``None`` for a statement of a test."""
    name, line, functions = "", 0, set[str]()
    for frame in _frames():
        file = _file(frame.f_code.co_filename)
        if file is None:
            continue
        if not file.startswith("/"):
            if not name and file not in HELPERS:  # the callers of helpers tell more
                name, line = file, frame.f_lineno
            if name and file != name:
                break
            functions.add(frame.f_code.co_name)
        else:
            break
    return (name, line, frozenset(functions)) if name else None


@cache
def _file(name: str) -> str | None:
    """Return a file of the scheduler, relative to its folder; ``/`` for a test; ``None`` for a library and for the files of this folder."""
    path = Path(name)
    if "site-packages" in path.parts or not path.is_relative_to(ROOT):
        return None
    if path.is_relative_to(PRODUCT):
        return path.relative_to(PRODUCT).as_posix()
    return None if path.is_relative_to(Path(__file__).parent) else "/"


@cache
def _texts_alone() -> frozenset[str]:
    """Return the texts in the modules of a single database."""
    common = (base.SAVEPOINT.set, base.SAVEPOINT.undo, base.SAVEPOINT.release)
    texts = {statement.text for statement in common if statement is not None}
    for name in OTHERS:
        tree = ast.parse((PRODUCT / f"db/dialects/{name}.py").read_text(encoding="utf-8"))
        texts |= {
            node.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
    return frozenset(texts)


def _alone(compiled: Any, source: str, file: str, functions: frozenset[str]) -> str:
    """Return why SQL Server never executes a statement."""
    statement = getattr(compiled, "statement", None)
    text = statement.text if isinstance(statement, sa.TextClause) else None
    reasons = (
        (file in ALONE, f"stands in {file}"),
        (text in _texts_alone(), "text of a dialect"),
        (_is_built_by_name(statement), "built by the name of the database"),
        (getattr(statement, "__dict__", {}).get(_BUILT, ("",))[0] in _TEXTS, "reads the text index"),
        (source.lstrip().startswith(_DDL) or file.startswith("db/migrations/"), "migration"),
        (isinstance(compiled, str) or isinstance(statement, ReleaseSavepointClause), "SQLAlchemy's own"),
        (text is None and any(name in source for name in _CATALOGUE), "SQLAlchemy's own"),
        (any((file, name) in OF_POSTGRESQL for name in functions), "function for PostgreSQL"),
    )  # fmt: skip
    needed = next((reason for holds, reason in reasons if holds), "")
    return needed or _guard(compiled, file, functions)


def _guard(compiled: Any, file: str, functions: frozenset[str]) -> str:
    """Return the attribute of dialects that guards a statement, if the attribute is false for SQL Server."""
    returned = getattr(compiled, "effective_returning", None) or ()
    ctes = getattr(compiled, "ctes", None) or ()
    needed = {
        attribute
        for (path, function), attribute in GUARDED.items()
        if file == path and function in functions
    }
    if any(cte.element.is_dml for cte in ctes):
        needed.add("changes_in_ctes")
    if any(map(_has_query, returned)):
        needed.add("returns_queries")
    missing = sorted(name for name in needed if not getattr(known.named("mssql"), name))
    return f"only with {missing[0]}" if missing else ""


def _has_query(column: Any) -> bool:
    return any(isinstance(part, sa.SelectBase) for part in visitors.iterate(column))


# The statement for SQL Server.


@cache
def server() -> sa.Dialect:
    """Return SQLAlchemy's dialect with the compiler of the scheduler, as if connected to SQL Server 2022."""
    engine = known.named("mssql").make_engine(sa.make_url("mssql://user@server/database"))
    dialect: Any = engine.dialect
    dialect.server_version_info = (16, 0, 4000, 1)
    dialect._setup_version_attributes()
    dialect.deprecate_large_types = True
    return dialect


def for_server(compiled: Any) -> str:
    """Compile a statement that was executed on another database; parameters are variables with their names."""
    statement = _rebuilt(compiled.statement)
    _check_types(statement)
    options: dict[str, Any] = {
        "dialect": server(),
        "column_keys": getattr(compiled, "column_keys", None),
    }
    try:
        result = statement.compile(**options, compile_kwargs={"render_postcompile": True})
    except sa.exc.InvalidRequestError:  # a value of the statement comes with its execution
        result = statement.compile(**options)
    return plain(str(result))


_SUMS = frozenset({"sum", "avg", "max", "min"})


def _check_types(statement: Any) -> None:
    """Check what a text does not show.

    Raises:
        TypeError: An aggregate has a bit as its argument (error 8117), or is the mean of whole numbers, which T-SQL cuts off.
    """
    if not isinstance(statement, sa.ClauseElement):
        return
    for part in visitors.iterate(statement):
        if not isinstance(part, sa.Function) or part.name.lower() not in _SUMS:
            continue
        kind = next(iter(part.clauses)).type
        if isinstance(kind, sa.Boolean):
            raise TypeError(f"{part.name} of a bit (error 8117)")
        if part.name.lower() == "avg" and isinstance(kind, sa.Integer):
            raise TypeError("avg of whole numbers is cut off to a whole number")


def plain(text: str) -> str:
    """Return a compiled statement with T-SQL's own form of parameters."""
    return _PARAMETER.sub(r"@\1", _LIST.sub(r"(@\1)", text)).replace("%%", "%")


def _rebuilt(statement: Any) -> Any:
    """Build each part that a dialect has built again, by the dialect of SQL Server."""
    built = getattr(statement, "__dict__", {}).get(_BUILT)
    if isinstance(statement, Insert) and built is not None:
        again = _again(built)
        lost = {"_post_values_clause", _BUILT}
        kept = {key: value for key, value in statement.__dict__.items() if key not in lost}
        own = {key: value for key, value in again.__dict__.items() if key in {"keys", "changes"}}
        again.__dict__.update(kept | own)
        return again
    if built is not None and built[3] == id(statement):
        return _again(built)
    if not isinstance(statement, sa.ClauseElement) or isinstance(statement, sa.TextClause):
        return statement

    twins: dict[int, Any] = {}

    def twin(part: Any) -> Any:
        built = getattr(part, "__dict__", {}).get(_BUILT)
        if built is None or isinstance(part, Insert):
            return None
        if built[3] not in twins:
            twins[built[3]] = _again(built)
        return twins[built[3]]

    def replaced(part: Any, **_: Any) -> Any:
        if part is known.named("postgresql").clock:
            return known.named("mssql").clock
        if isinstance(part, sa.ColumnClause) and (table := twin(part.table)) is not None:
            return table.c[part.key]
        return twin(part)

    return visitors.replacement_traverse(statement, {}, replaced)


def _again(built: Any) -> Any:
    method, arguments, options, _ = built
    return _rebuilt(getattr(known.named("mssql"), method)(*arguments, **options))


# Statements that are built by the name of the database.


def _built_by_name(database: str) -> Iterator[tuple[str, Any]]:
    """Yield the statements of each cached function with the parameter ``database``, with the function's place."""
    for name, module in sorted(sys.modules.items()):
        if not name.startswith("targcc_scheduler."):
            continue
        for function in vars(module).values():
            code = getattr(getattr(function, "__wrapped__", None), "__code__", None)
            if (
                code is None
                or code.co_varnames[: code.co_argcount] != ("database",)
                or function.__module__ != name
            ):
                continue
            place = (
                f"{Path(code.co_filename).relative_to(PRODUCT).as_posix()}:{code.co_firstlineno}"
            )
            built = function(database)
            for item in built if isinstance(built, tuple) else (built,):
                if isinstance(item, FrequentStatement):
                    yield place, item._statement


def _is_built_by_name(statement: Any) -> bool:
    return id(statement) in _ids_built_by_name(len(sys.modules))


@cache
def _ids_built_by_name(_modules: int) -> dict[int, Any]:
    """Return the statements that are built by the name of a database, by id; again once more modules are imported."""
    return {id(built): built for database in _SOURCES for _, built in _built_by_name(database)}


# The statements of the dialect of SQL Server itself.


class _Recorder:
    """A connection that records what is executed on it, and answers with ``1``, ``0`` or nothing."""

    dialect = SimpleNamespace(name="mssql", targcc_babelfish=False)

    def __init__(self) -> None:
        self.statements: list[Any] = []

    def execute(self, statement: Any, _parameters: Any = None) -> Any:
        """Record a statement."""
        self.statements.append(statement)
        return _Answer()

    def scalar(self, statement: Any, _parameters: Any = None) -> int:
        """Record a statement."""
        self.statements.append(statement)
        return 0


class _Answer:
    """A result that can be awaited, too."""

    def __await__(self) -> Any:
        yield from ()
        return self

    def all(self) -> list[Any]:
        """Return no row."""
        return []

    def one(self) -> tuple[int, int]:
        """Return a row."""
        return (1, 1)


class _AsyncRecorder(_Recorder):
    async def execute(self, statement: Any, _parameters: Any = None) -> Any:  # type: ignore[override]
        """Record a statement."""
        return super().execute(statement)

    async def scalar(self, statement: Any, _parameters: Any = None) -> int:  # type: ignore[override]
        """Record a statement."""
        return super().scalar(statement)


def own_statements() -> Iterator[tuple[str, str]]:
    """Yield the statements of the dialect of SQL Server, which no other database executes, each with its place."""
    dialect: Any = known.named("mssql")
    row = {"JobName": "Job", "State": "enqueued", "ScheduledFor": None, "DueAt": None}
    rows = [{**row, "Priority": number} for number in range(2)]
    arguments: dict[str, tuple[Any, ...]] = {"insert_runs": (rows,)}
    for name, method in inspect.getmembers(type(dialect), inspect.isfunction):
        parameters = list(inspect.signature(method).parameters)[1:]
        if not parameters or parameters[0] != "connection":
            continue
        is_async = inspect.iscoroutinefunction(method)
        recorder = _AsyncRecorder() if is_async else _Recorder()
        given = arguments.get(name, tuple("name" for _ in parameters[1:]))
        try:
            result = getattr(dialect, name)(recorder, *given)
            if is_async:
                with suppress(StopIteration):
                    result.send(None)
        except Exception:  # noqa: BLE001 - a recorder answers too little for some methods
            pass
        for statement in recorder.statements:
            yield f"db/dialects/mssql.py {name}", plain(str(statement.compile(dialect=server())))
    for name, value in vars(type(dialect)).items():
        if isinstance(value, sa.TextClause) or name.endswith("_sql"):
            text = value if isinstance(value, str) else str(value.compile(dialect=server()))
            yield f"db/dialects/mssql.py {name}", plain(text)


# Remember what dialects build.

_SHARED = (sa.true(), sa.false(), sa.null())
"""Expressions that are one object for all who build them."""


def _remembering(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def built(*arguments: Any, **options: Any) -> Any:
        expression = method(*arguments, **options)
        expressions = [part for _, part in expression] if name in _TEXTS else [expression]
        for part in expressions:
            if isinstance(part, sa.ClauseElement) and not any(part is shared for shared in _SHARED):
                part.__dict__[_BUILT] = (name, arguments, options, id(part))
        return expression

    return built


def _instrument(dialect: Any) -> None:
    builders = [
        name
        for name, method in inspect.getmembers(type(dialect), inspect.isfunction)
        if not inspect.iscoroutinefunction(method)
    ]
    for owner, names in ((dialect, builders), (dialect.texts, _TEXTS)):
        for name in names:
            setattr(owner, name, _remembering(name, getattr(owner, name)))


def install() -> Collector:
    """Collect in this process; called once, before the first engine is made."""
    collector = Collector()
    sa.event.listen(sa.Engine, "before_cursor_execute", collector.executed)
    for name in _SOURCES:
        _instrument(known.named(name))
    compiled_directly = base.DriverStatement.__init__

    def init(self: Any, statement: Any, dialect: sa.Dialect) -> None:
        compiled_directly(self, statement, dialect)
        collector.add(statement.compile(dialect=dialect))

    base.DriverStatement.__init__ = init  # type: ignore[method-assign]
    return collector
