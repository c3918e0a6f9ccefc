"""A first look at a whole file: the order of its dates, and the columns that its format leaves out where they are NULL."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator

from targcc_gen.readers.dates import EVERY_ORDER, orders_of, usual_order
from targcc_gen.readers.rows import Item, Remark, RemarkKind, Row
from targcc_gen.readers.tables import KnownTables

_NAMES = {"dmy": "day, month, year", "mdy": "month, day, year", "ymd": "year, month, day"}


class Survey:
    """What all rows of a file say together.

    Args:
        items: The file's items.
        tables: What is looked for.

    Attributes:
        orders: The orders that dates of the file may have.
        remarks: What the file says about its dates.
    """

    def __init__(self, items: Iterable[Item], tables: KnownTables) -> None:
        self.orders = EVERY_ORDER
        self.remarks: list[Remark] = []
        self._columns: dict[str, dict[str, None]] = defaultdict(dict)
        witnesses: dict[tuple[frozenset[str], str | None], tuple[Row, str]] = {}
        for item in items:
            if isinstance(item, Row):
                if item.table in tables:
                    self._columns[item.table].update(dict.fromkeys(item.values))
                for text, orders in _dates(item, tables):
                    witnesses.setdefault((orders, usual_order(text)), (item, text))
        if witnesses:
            self._settle(witnesses)

    def filled(self, row: Row) -> Row:
        """A row of a format that leaves NULLs out, with NULL in each column that another row of its table has."""
        missing = dict.fromkeys(self._columns[row.table].keys() - row.values.keys())
        return row._replace(values={**row.values, **missing}, is_sparse=True)

    def _settle(self, witnesses: dict[tuple[frozenset[str], str | None], tuple[Row, str]]) -> None:
        """Take the orders that every date allows; where no order does, dates stay as doubtful as they are."""
        common = EVERY_ORDER.intersection(*(orders for orders, _ in witnesses))
        self.orders = common or EVERY_ORDER
        clearest = sorted(witnesses, key=lambda key: (len(key[0]), sorted(key[0]), key[1] or ""))
        row, text = witnesses[clearest[0]]
        if not common:
            apart = (key for key in clearest if not key[0] & clearest[0][0])
            other = next(apart, clearest[-1])
            against, different = witnesses[other]
            told = f'"{text}" in line {row.line} and "{different}" in line {against.line}'
            self._say(row, f"its dates have several orders: {told}")
        elif len(common) == 1:
            (order,) = common
            self._say(
                row, f'its dates are read as {_NAMES[order]}, as "{text}" in line {row.line} shows'
            )
        elif by_form := next(filter(lambda one: usual_order(one[1]), witnesses.values()), None):
            row, text = by_form
            names = _NAMES[usual_order(text) or ""]
            self._say(
                row,
                f'"{text}" in line {row.line} is read as {names}, by its form; --dates overrules',
            )

    def _say(self, row: Row, text: str) -> None:
        self.remarks.append(Remark(RemarkKind.WARNING, row.file, 0, text))


def surveyed(
    first: Callable[[], Iterable[Item]],
    again: Callable[[], Iterable[Item]],
    tables: KnownTables,
    *,
    sparse: bool,
    orders: frozenset[str] | None,
) -> Iterator[Item]:
    """The items of a file, each row with what the whole file says about it.

    The file is read a second time only if that can tell something: its format leaves NULLs out, or a date is doubtful.

    Args:
        first: Reads the file.
        again: Reads the file once more.
        tables: What is looked for.
        sparse: Whether the format leaves NULLs out.
        orders: The orders of dates that a person has named; ``None``: the file has to tell.
    """
    survey = Survey(again(), tables) if sparse else None
    if survey is not None and orders is None:
        yield from survey.remarks
    for item in first():
        if not isinstance(item, Row):
            yield item
            continue
        row = item if survey is None or not sparse else survey.filled(item)
        if orders is None and survey is None and any(len(o) > 1 for _, o in _dates(row, tables)):
            survey = Survey(again(), tables)
            yield from survey.remarks
        chosen = orders or (survey.orders if survey is not None else EVERY_ORDER)
        yield row if chosen == EVERY_ORDER else row._replace(orders=chosen)


def _dates(row: Row, tables: KnownTables) -> Iterator[tuple[str, frozenset[str]]]:
    """The texts of a row whose order matters, with the orders that each may have."""
    for name in tables.dates & row.values.keys():
        value = row.values[name]
        if isinstance(value, str) and (orders := orders_of(value)) is not None:
            yield value, orders
