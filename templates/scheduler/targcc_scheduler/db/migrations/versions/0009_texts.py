"""An index of runs' texts, the notes from which it is kept up to date, and people's views.

Revision: 0009, after 0008. It only adds: triggers note what nodes of the release before do with runs, so the index knows that too. Runs that
are there already are indexed later, in short steps.
"""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa
from alembic import op
from sqlalchemy.sql import quoted_name

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_BIG_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_TRIGRAMS_SINCE = (3, 34)
_SETTINGS = """
    INSERT INTO c_JobSetting (Name, Value, UpdatedAt)
    VALUES ('oldest_code 0009', '0004', CURRENT_TIMESTAMP)
"""
_UNSEEN = """
    INSERT INTO c_JobSetting (Name, Value, UpdatedAt)
    SELECT 'unindexed runs', CAST(max(Id) AS varchar(20)), CURRENT_TIMESTAMP FROM c_JobRun HAVING max(Id) IS NOT NULL
"""
_SQLITE = (
    """
    CREATE TRIGGER TR_c_JobRun_Ended AFTER UPDATE OF CompletedAt, JobName, State, Message ON c_JobRun
    WHEN NEW.CompletedAt IS NOT NULL
    BEGIN INSERT OR IGNORE INTO c_JobTextDue (RunId) VALUES (NEW.Id); END
    """,
    """
    CREATE TRIGGER TR_c_JobRun_Born AFTER INSERT ON c_JobRun WHEN NEW.CompletedAt IS NOT NULL
    BEGIN INSERT OR IGNORE INTO c_JobTextDue (RunId) VALUES (NEW.Id); END
    """,
    """
    CREATE TRIGGER TR_c_JobRun_Gone AFTER DELETE ON c_JobRun
    BEGIN INSERT OR IGNORE INTO c_JobTextDue (RunId) VALUES (OLD.Id); END
    """,
)
_POSTGRESQL = (
    """
    CREATE TABLE c_JobText (
        RunId bigint NOT NULL CONSTRAINT PK_c_JobText PRIMARY KEY, Grams smallint ARRAY NOT NULL
    )
    """,
    "CREATE INDEX IX_c_JobText_Grams ON c_JobText USING gin (Grams)",
    """
    CREATE FUNCTION c_JobTextNote() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP = 'DELETE' THEN
            INSERT INTO c_JobTextDue (RunId) VALUES (OLD.Id) ON CONFLICT DO NOTHING;
        ELSE
            INSERT INTO c_JobTextDue (RunId) VALUES (NEW.Id) ON CONFLICT DO NOTHING;
        END IF;
        RETURN NULL;
    END $$
    """,
    """
    CREATE TRIGGER TR_c_JobRun_Ended AFTER INSERT OR UPDATE OF CompletedAt, JobName, State, Message ON c_JobRun
    FOR EACH ROW WHEN (NEW.CompletedAt IS NOT NULL) EXECUTE FUNCTION c_JobTextNote()
    """,
    """
    CREATE TRIGGER TR_c_JobRun_Gone AFTER DELETE ON c_JobRun FOR EACH ROW EXECUTE FUNCTION c_JobTextNote()
    """,
)


def upgrade() -> None:
    """Go to this version."""
    _create("c_JobTextDue", sa.Column(_name("RunId"), _BIG_ID, nullable=False, autoincrement=False), key=("RunId",))  # fmt: skip
    _create(
        "c_JobView",
        sa.Column(_name("Person"), sa.Unicode(100), nullable=False),
        sa.Column(_name("Name"), sa.Unicode(100), nullable=False),
        sa.Column(_name("Search"), sa.Unicode(2000), nullable=False),
        key=("Person", "Name"),
    )
    op.execute(_SETTINGS)
    kind = op.get_context().dialect.name
    if kind == "postgresql":
        _do(_POSTGRESQL)
    elif kind == "sqlite":
        _do(_SQLITE)
        if _has_trigrams():
            _do(
                (
                    "CREATE VIRTUAL TABLE c_JobText USING fts5(Body, tokenize = 'trigram', detail = none)",
                )
            )
    if kind != "mssql":
        op.execute(_UNSEEN)


def downgrade() -> None:
    """Go back to the version before: people's views are lost."""
    op.execute("DELETE FROM c_JobSetting WHERE Name IN ('oldest_code 0009', 'unindexed runs')")
    kind = op.get_context().dialect.name
    if kind == "postgresql":
        _do(("DROP TRIGGER TR_c_JobRun_Gone ON c_JobRun", "DROP TRIGGER TR_c_JobRun_Ended ON c_JobRun", "DROP FUNCTION c_JobTextNote()", "DROP TABLE c_JobText"))  # fmt: skip
    elif kind == "sqlite":
        _do(f"DROP TRIGGER TR_c_JobRun_{name}" for name in ("Gone", "Born", "Ended"))
        _do(("DROP TABLE IF EXISTS c_JobText",))
    for table in ("c_JobView", "c_JobTextDue"):
        op.drop_table(_name(table))


def _has_trigrams() -> bool:
    """Whether this SQLite has the tokenizer; a script is made for one that has."""
    if op.get_context().as_sql:
        return True
    bind = op.get_bind()
    version = str(bind.scalar(sa.text("SELECT sqlite_version()"))).split(".")
    has_fts5 = bind.scalar(sa.text("SELECT 1 FROM pragma_module_list WHERE name = 'fts5'"))
    return has_fts5 is not None and tuple(map(int, version[:2])) >= _TRIGRAMS_SINCE


def _do(statements: Iterable[str]) -> None:
    for statement in statements:
        op.execute(statement)


def _name(name: str) -> quoted_name:
    return quoted_name(name, quote=False)


def _create(table: str, *columns: sa.Column[object], key: tuple[str, ...]) -> None:
    primary = sa.PrimaryKeyConstraint(*map(_name, key), name=_name(f"PK_{table}"))
    op.create_table(_name(table), *columns, primary)
