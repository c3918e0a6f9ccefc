"""Rows that speak of one job: the same said twice is taken once, and a contradiction is nobody's to decide but the owner's."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence

from targcc_gen.readers import cells
from targcc_gen.readers.rows import Row, Unknown
from targcc_gen.sources.model import Rejection, Warnings

# What the old server wrote by itself: two exports of different days differ in these and still agree.
_VOLATILE = {
    "id", "lastrun", "nextrun", "lastresult", "failurecount", "nextruntime", "lastruntime", "enmjobstatus",
    "warningmailsent", "lastrunby", "activatinguser", "addedby", "addedon", "changedby", "changedon", "updatingloginid",
    "tablename_c_job",
}  # fmt: skip
_WORDS = {"true": "1", "false": "0"}


def name_of(row: Row) -> str | None:
    """What makes a row's job one job: its name, or its code and runner, in any case."""
    name = cells.text(row, "jobname")
    if name is None and (code := cells.text(row, "lkpjob")):
        name = f"{code}\0{cells.text(row, 'lkpjobrunner') or ''}"
    return name.casefold() if name else None


def without_duplicates(
    rows: Sequence[Row], referred: Collection[str], warnings: Warnings
) -> tuple[list[Row], list[Rejection]]:
    """Split rows into those that go on and those that repeat or contradict another.

    Two rows of one file may share a name (the old table allowed it) if their ids differ; those are two jobs. Two files may
    use one id for different jobs (two servers) as long as no recipient and no history says ``job 7`` and means one of them.

    Args:
        rows: Rows of ``c_Job``.
        referred: Ids that recipients or history refer to.
        warnings: Where to say that an id was used twice.
    """
    rejected: dict[int, Rejection] = {}
    for members in _groups(rows, name_of).values():
        _judge(rows, members, rejected)
    for key, members in _groups(rows, lambda row: cells.key(row, "id")).items():
        left = [index for index in members if index not in rejected]
        if key in referred or len({rows[index].file for index in left}) == 1:
            _judge(rows, left, rejected)
        elif len(left) > 1:
            places = " and ".join(rows[index].place for index in left)
            warnings.add(
                places, f"different jobs have the id {key}: taken as jobs of different servers"
            )
    kept = [row for index, row in enumerate(rows) if index not in rejected]
    return kept, [rejected[index] for index in sorted(rejected)]


def _groups(rows: Sequence[Row], key_of: Callable[[Row], str | None]) -> dict[str, list[int]]:
    groups: dict[str, list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        if (key := key_of(row)) is not None:
            groups[key].append(index)
    return groups


def _judge(rows: Sequence[Row], members: Iterable[int], rejected: dict[int, Rejection]) -> None:
    different: list[int] = []
    for index in members:
        row = rows[index]
        same = next((one for one in different if not _differences(rows[one], row)), None)
        if same is None:
            different.append(index)
        else:
            rejected[index] = _rejection(row, f"repeats {rows[same].place}, taken once")
    for index in different if len(different) > 1 else []:
        row = rows[index]
        other = next(
            (rows[one] for one in different if one != index and _must_agree(rows[one], row)), None
        )
        if other is not None:
            rejected[index] = _rejection(row, _contradiction(row, other))


def _must_agree(one: Row, other: Row) -> bool:
    if one.file != other.file:
        return True
    ids = cells.key(one, "id"), cells.key(other, "id")
    return ids[0] is not None and ids[0] == ids[1]


def _contradiction(row: Row, other: Row) -> str:
    column = _differences(row, other)[0]
    here, there = _shown(row, column), _shown(other, column)
    return f'contradicts {other.place}: {column} is "{here}" here and "{there}" there'


def _differences(one: Row, other: Row) -> list[str]:
    """The columns in which two rows disagree; a column that only one export has does not count."""
    shared = [column for column in one.values if column in other.values and column not in _VOLATILE]
    return [column for column in shared if _plain(one, column) != _plain(other, column)]


def _shown(row: Row, column: str) -> str:
    value = row.values[column]
    return value.text if isinstance(value, Unknown) else cells.text(row, column) or "NULL"


def _plain(row: Row, column: str) -> str:
    value = row.values[column]
    if isinstance(value, Unknown):
        return f"\0{value.text}"
    text = cells.key(row, column) or ""
    return _WORDS.get(text.lower(), text)


def _rejection(row: Row, reason: str) -> Rejection:
    name = cells.text(row, "jobname", "lkpjob") or ""
    return Rejection(row.file, row.line, reason, name, cells.key(row, "id"))
