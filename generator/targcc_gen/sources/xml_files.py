"""Read elements of XML files by their names without namespaces."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable

from targcc_gen.errors import ExportError
from targcc_gen.sources.reading import Document

Element = ET.Element
_DECLARATION = re.compile(r"<\?xml[^>]*\?>")


def parsed(document: Document) -> Element:
    """Return an element that holds the elements of a file, which may have several roots.

    Raises:
        InputError: The file is no XML, or has a DOCTYPE.
    """
    text, file = document.text, document.file.name
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise ExportError(f"{file}: a DOCTYPE has no place in an export")
    try:
        body = _DECLARATION.sub("", text.lstrip("\ufeff"))  # each root may have one
        return ET.fromstring(f"<export>{body}</export>")  # noqa: S314 - without a DOCTYPE
    except ET.ParseError as error:
        raise ExportError(
            f"{file}:{error.position[0]}: not XML: {error.msg}",
            hint="If the export is cut off, copy or export it again.",
        ) from None


def lines_of(document: Document, name: str) -> list[int]:
    """Return the line of each start tag of a name, from 1."""
    starts = re.finditer(rf"<{name}[\s>]", document.text)
    return [document.text.count("\n", 0, match.start()) + 1 for match in starts]


def tag(element: Element) -> str:
    """Return the name of an element."""
    return element.tag.rpartition("}")[2]


def named(element: Element, name: str) -> list[Element]:
    """Return the elements of a name at any depth, in document order."""
    return [each for each in element.iter() if tag(each) == name]


def child(element: Element | None, name: str) -> Element | None:
    """Return the first child of a name; None without one."""
    return next((each for each in children(element) if tag(each) == name), None)


def children(element: Element | None) -> Iterable[Element]:
    """Return the children of an element; none for None."""
    return () if element is None else element


def text_of(element: Element | None, *path: str) -> str:
    """Return the text at the end of a path of children; empty without one."""
    for name in path:
        element = child(element, name)
    return (element.text or "").strip() if element is not None else ""
