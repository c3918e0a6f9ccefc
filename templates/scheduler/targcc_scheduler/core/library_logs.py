"""Log levels of libraries inside a host: the host's log shows their warnings, and no line for each step."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator


def only_warnings(name: str) -> None:
    """Limit a library's logger to WARNING from now on, unless the host has set its level."""
    logger = logging.getLogger(name)
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.WARNING)


@contextlib.contextmanager
def quiet(name: str) -> Iterator[None]:
    """Limit a library's logger to WARNING within a block, unless the host has set its level: the host may use the library, too."""
    logger = logging.getLogger(name)
    if logger.level != logging.NOTSET:
        yield
        return
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(logging.NOTSET)
