"""A queue for each old runner: TARGCC 4 ran one job at a time for each ``lkpJobRunner``, and procedures may rely on it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

_OTHERS = re.compile(r"[^a-z0-9]+")
_LONGEST = 50


def queue_names(runners: Iterable[str], taken: Collection[str] = ()) -> dict[str, str]:
    """A queue's name for each runner: ``SRV01\\tasks`` is ``srv01-tasks``. Runners that would share one get a number.

    Args:
        runners: Names of runners, in any order.
        taken: Names that are something else's.
    """
    names: dict[str, str] = {}
    used = {*taken, "default"}
    for runner in sorted(set(runners)):
        base = _OTHERS.sub("-", runner.lower()).strip("-")
        if not base[:1].isalpha():
            base = f"runner-{base}".rstrip("-")
        name, number = base[:_LONGEST], 1
        while name in used:
            number += 1
            name = f"{base[: _LONGEST - len(str(number)) - 1]}-{number}"
        used.add(name)
        names[runner] = name
    return names
