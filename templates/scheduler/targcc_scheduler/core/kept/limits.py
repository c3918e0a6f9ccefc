"""How much of what a job says is kept. More than that is cut, with a mark that says how much; none of it is an error.

Files, and arguments that are kept apart, are whole or refused: ``TARGCC_MAX_FILE_BYTES``.
"""

from __future__ import annotations

LONGEST_MESSAGE = 4_000
"""Characters of a result's message, or of an exception's."""
LONGEST_NOTE = 200
"""Characters of a message within a line of a run's state history."""
LONGEST_STACK_TRACE = 50_000
"""Characters of a traceback; both ends of a longer one are kept."""
LONGEST_METADATA = 100_000
"""Characters of a result's metadata as JSON, about."""
LONGEST_METADATA_TEXT = 10_000
"""Characters of one text in it."""
LONGEST_METADATA_KEY = 200
"""Characters of one key in it."""
DEEPEST_METADATA = 20
"""Levels of lists and objects in it."""
LONGEST_LOG_LINE = 20_000
"""Characters of a line of a run's log."""
LONGEST_LOG_VALUE = 10_000
"""Characters of one value in such a line."""
MOST_LOG_LINES = 10_000
"""Lines of one attempt's log."""
LONGEST_ARGUMENTS = 65_536
"""Bytes of a run's arguments as JSON; the largest of more than that go to ``c_JobBlob``, or to the project's file store."""
MOST_BYTES = 64 * 2**20
"""Bytes of a file, and of an argument that is kept apart, where nothing else is set."""
LONGEST_FILE_NAME = 200
"""Bytes of a file's name in UTF-8."""
LONGEST_CONTENT_TYPE = 100
"""Characters of a file's content type."""
