"""One cache of compiled statements for all engines of a kind: each test has engines of its own, which would compile everything anew."""

from typing import Any

from sqlalchemy import TextClause
from sqlalchemy.engine import Engine
from sqlalchemy.util import LRUCache

_MOST = 5_000


class _Shared(LRUCache):
    """Asks for the kind of a dialect where SQLAlchemy asks for the dialect itself.

    Text stays with its own engine: what columns `*` has may differ from one database to the next.
    """

    def get(self, key: Any, default: Any = None) -> Any:
        return super().get(_of_kind(key), default)

    def __getitem__(self, key: Any) -> Any:
        return super().__getitem__(_of_kind(key))

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(_of_kind(key), value)


def _of_kind(key: tuple[Any, ...]) -> tuple[Any, ...]:
    dialect, statement, *rest = key
    if statement[0] is TextClause:
        return key
    kind = (
        type(dialect),
        dialect.paramstyle,
        dialect.server_version_info,
        getattr(dialect, "_json_serializer", None),
    )
    return (kind, statement, *rest)


def install() -> None:
    """Let every engine use the one cache; the one that it makes for itself is nobody's."""
    shared = _Shared(_MOST)

    def ignore(_: Engine, __: LRUCache) -> None:
        """What an engine sets when it is made."""

    Engine._compiled_cache = property(lambda _: shared, ignore)
