"""Tracebacks and messages of failed attempts, as they are kept."""

from __future__ import annotations

import traceback
from pathlib import Path

from ..core.secrets import mask
from ..core.text import both_ends

_HERE = str(Path(__file__).resolve().parents[1])  # the scheduler as a whole


def stack_trace(error: BaseException) -> str:
    """The traceback, from the job's own code on; of one that would fill pages by the megabyte, both ends."""
    frame = error.__traceback__
    while frame is not None and frame.tb_frame.f_code.co_filename.startswith(_HERE):
        frame = frame.tb_next
    lines = traceback.format_exception(type(error), error, frame or error.__traceback__)
    return both_ends(mask("".join(lines)))
