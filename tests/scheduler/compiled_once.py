"""Share one cache of compiled statements among all engines of a dialect, so that the engines of each test do not compile anew."""

from typing import Any

from sqlalchemy import TextClause
from sqlalchemy.engine import Engine
from sqlalchemy.util import LRUCache

_MOST = 5_000


class _Shared(LRUCache):
    """Cache keyed by the kind of dialect, where SQLAlchemy uses the dialect object as key.

    Textual SQL stays with its own engine: the columns behind `*` can differ between databases.
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
    """Give every engine the shared cache and drop the engine's own cache."""
    shared = _Shared(_MOST)

    def ignore(_: Engine, __: LRUCache) -> None:
        """Ignore the cache that an engine sets in its constructor."""

    Engine._compiled_cache = property(lambda _: shared, ignore)
