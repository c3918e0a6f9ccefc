"""Write numbers, times of day and weekdays as fields of cron texts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from datetime import timedelta

from targcc_gen.sources.drafts import Refused

NAMES = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
"""Weekdays by number; 0 is Sunday."""


def clocks(offsets: Iterable[timedelta], name: str) -> list[str]:
    """Return the fields of seconds (if any is not 0), minutes and hours for the times of a day; hours with equal minutes share a text."""
    hours: dict[int, set[tuple[int, int]]] = defaultdict(set)
    for offset in offsets:
        minute, second = divmod(int(offset.total_seconds()) % 3600, 60)
        hours[int(offset.total_seconds()) // 3600].add((minute, second))
    alike: dict[frozenset[tuple[int, int]], list[int]] = defaultdict(list)
    for hour, inside in hours.items():
        alike[frozenset(inside)].append(hour)
    texts = []
    for same, members in alike.items():
        inside = set(same)
        minutes, seconds = {minute for minute, _ in inside}, {second for _, second in inside}
        if len(minutes) * len(seconds) != len(inside):
            raise Refused(f'schedule "{name}": its seconds differ from minute to minute')
        clock = f"{field(minutes, 60)} {field(members, 24)}"
        texts.append(clock if seconds == {0} else f"{field(seconds, 60)} {clock}")
    return texts


def field(numbers: Collection[int], size: int) -> str:
    """Write numbers as a field: ``*``, ``*/15``, ``8-18`` or a list."""
    ordered = sorted(set(numbers))
    if len(ordered) == size:
        return "*"
    if len(ordered) == 1:
        return str(ordered[0])
    step = ordered[1] - ordered[0]
    if ordered == list(range(ordered[0], ordered[-1] + 1, step)):
        reaches_end = ordered[-1] + step >= size
        if step == 1:
            return f"{ordered[0]}-{ordered[-1]}"
        if reaches_end and len(ordered) > 2:  # noqa: PLR2004 - shorter as a list
            return f"{ordered[0] or '*'}/{step}"
        if len(ordered) > 3:  # noqa: PLR2004
            return f"{ordered[0]}-{ordered[-1]}/{step}"
    return ",".join(map(str, ordered))


def weekdays_field(numbers: Collection[int]) -> str:
    """Write weekdays as a field; 0 is Sunday."""
    if frozenset(numbers) == frozenset(range(7)):
        return "*"
    if frozenset(numbers) == frozenset(range(1, 6)):
        return "MON-FRI"
    return ",".join(NAMES[number] for number in sorted(numbers))
