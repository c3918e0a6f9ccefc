"""Queues put into a spec file, with every other character left as it is."""

from __future__ import annotations

from collections.abc import Mapping

from targcc_gen.spec.parts import QueueSpec
from targcc_gen.spec.reading.loader import parse_spec, parse_tree
from targcc_gen.spec.reading.nodes import Node
from targcc_gen.spec.writing.dump import queue_entry
from targcc_gen.spec.writing.splice import (
    BOM,
    LINES,
    has_quoted_keys,
    into_braces,
    last_line,
    spliced,
    step_of,
    verified,
)


def add_queues(text: str, queues: Mapping[str, QueueSpec], filename: str = "targcc.yaml") -> str:
    """The text of a spec with more queues; those that it has already stay as they are.

    Args:
        text: The spec, with its own line endings.
        queues: The queues by name.
        filename: The file, as messages name it.

    Raises:
        SpecErrors: The spec is wrong as it is.
        InputError: The text is written in a way that cannot be edited.
    """
    spec = parse_spec(text, filename)
    new = {name: queue for name, queue in queues.items() if name not in spec.queues}
    expected = spec.model_copy(update={"queues": {**spec.queues, **new}})
    body = text.removeprefix(BOM)
    start = text[: len(text) - len(body)]
    for name, queue in new.items():
        root, _ = parse_tree(body, filename)
        body = _with_queue(body, root, name, queue)
    return verified(start + body, expected, f"queues cannot be added to {filename}")


def _with_queue(text: str, root: Node, name: str, queue: QueueSpec) -> str:
    entry = queue_entry(name, queue, quote_keys=has_quoted_keys(root))
    lines = LINES.findall(text)
    queues = root.entries["queues"][1] if "queues" in root.entries else None
    if queues is not None and queues.style == "{":
        return into_braces(text, queues, entry)
    if queues is not None and queues.entries:
        last_name, last = list(queues.entries.values())[-1]
        margin = " " * last_name.start.column
        return spliced(lines, last_line(lines, last_name, last) + 1, [margin + entry])
    if root.style == "{":
        key = '"queues"' if has_quoted_keys(root) else "queues"
        return into_braces(text, root, f"{key}: {{{entry}}}")
    above, body = root.entries["project"]
    added = ["queues:", " " * step_of(root) + entry]
    return spliced(lines, last_line(lines, above, body) + 1, added)
