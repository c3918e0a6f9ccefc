"""What the table in the place of another takes over: indexes, and who may do what with it."""

from __future__ import annotations

import re
from dataclasses import dataclass

import sqlalchemy as sa

from .months import TABLE, execute

_INDEX = re.compile(
    r"CREATE (UNIQUE )?INDEX (?P<name>.+?) ON (ONLY )?(?P<table>\S+) (?P<rest>USING .*)", re.DOTALL
)
_INDEXES = sa.text("""
    SELECT c.relname, pg_get_indexdef(i.indexrelid) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
    WHERE i.indrelid = to_regclass(:table) AND NOT i.indisprimary AND i.indisvalid ORDER BY 1
    """)
_RIGHTS = sa.text("""
    SELECT CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END,
        string_agg(a.privilege_type, ', '), a.is_grantable
    FROM pg_class c, LATERAL aclexplode(c.relacl) AS a
    WHERE c.oid = to_regclass(:table) AND a.grantee <> c.relowner GROUP BY 1, 3 ORDER BY 1
    """)
_OBSTACLES = sa.text("""
    SELECT 'the view ' || v.oid::regclass FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid JOIN pg_class v ON v.oid = r.ev_class
    WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = to_regclass(:table) AND v.oid <> d.refobjid
    UNION SELECT 'the trigger ' || tgname FROM pg_trigger WHERE tgrelid = to_regclass(:table) AND NOT tgisinternal
    UNION SELECT 'the foreign key ' || conname FROM pg_constraint
        WHERE contype = 'f' AND to_regclass(:table) IN (conrelid, confrelid)
    UNION SELECT 'the publication ' || p.pubname FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid
        WHERE r.prrelid = to_regclass(:table)
    UNION SELECT 'the unique index ' || i.indexrelid::regclass FROM pg_index i
        WHERE i.indrelid = to_regclass(:table) AND i.indisunique AND NOT i.indisprimary
            AND i.indexrelid <> coalesce(to_regclass(:mine), 0::regclass)
    ORDER BY 1
    """)


@dataclass(frozen=True, slots=True)
class Index:
    """An index of the history.

    Args:
        name: As PostgreSQL writes it.
        definition: What comes after the table's name.
    """

    name: str
    definition: str

    def create(self, connection: sa.Connection, table: str, suffix: str = "") -> None:
        """Make it on a table, with something after its name."""
        execute(
            connection, f"CREATE INDEX {quoted(self.name + suffix)} ON {table} {self.definition}"
        )

    def rename(self, connection: sa.Connection, since: str, until: str) -> None:
        """Take something off its name and put something else there."""
        names = quoted(self.name + since), quoted(self.name + until)
        execute(connection, f"ALTER INDEX {names[0]} RENAME TO {names[1]}")


def quoted(name: str) -> str:
    """A name as PostgreSQL has it."""
    doubled = name.replace('"', '""')
    return f'"{doubled}"'


def indexes(connection: sa.Connection) -> list[Index]:
    """The indexes of the history but that of its key; also those that people have added."""
    found = []
    for name, text in connection.execute(_INDEXES, {"table": TABLE}):
        definition = _INDEX.match(text)
        if definition is not None and definition[1] is None:
            found.append(Index(name, definition["rest"]))
    return found


def rights(connection: sa.Connection) -> list[str]:
    """The statements that give others the rights that they have."""
    return [
        f"GRANT {what} ON {TABLE} TO {who}{' WITH GRANT OPTION' if further else ''}"
        for who, what, further in connection.execute(_RIGHTS, {"table": TABLE})
    ]


def obstacles(connection: sa.Connection, own_index: str) -> list[str]:
    """What hangs on the table itself and would stay behind, such as a view; to be removed before, and made again after."""
    found = connection.scalars(_OBSTACLES, {"table": TABLE, "mine": own_index})
    return list(found)
