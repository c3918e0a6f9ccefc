"""A schedule written as one text, as the pages and ``c_JobSchedule`` show it, back into options of ``@job``."""

from __future__ import annotations

import re
from typing import Any

from ...schedules import CronSchedule, parse_duration

_EVERY = re.compile(
    r"every (?P<every>\S+)(?: after (?P<after>completion|start)| from (?P<anchor>\S+))?"
)
_ONCE = re.compile(r"once at (?P<at>\S+)")


def options_of(text: str) -> dict[str, Any]:
    """The options that say a schedule: ``schedule`` (a cron expression), ``every`` with ``after`` or ``anchor``, or ``at``.

    Raises:
        CronError: the cron expression or the duration cannot be read.
    """
    if found := _EVERY.fullmatch(text):
        parse_duration(found["every"])
        return {name: value for name, value in found.groupdict().items() if value is not None}
    if found := _ONCE.fullmatch(text):
        return {"at": found["at"]}
    CronSchedule.parse(text)
    return {"schedule": text}
