"""Texts of jobs, as they are kept: of bounded length, without secrets, without what a database refuses.

Whatever an object does when it is asked for its text, there is one.
"""

from __future__ import annotations

from ..secrets import longest_secret, mask
from ..text import clean
from .limits import LONGEST_MESSAGE, LONGEST_STACK_TRACE

# Not kind.__name__: a metaclass may have one of its own.
_name_of_type = type.__dict__["__name__"].__get__
_qualified_name_of_type = type.__dict__["__qualname__"].__get__
_module_of_type = type.__dict__["__module__"].__get__
_PREFIX = 100
"""What stands before a secret and tells that it is one, such as ``Bearer``, is shorter."""


def kept_text(text: str, longest: int = LONGEST_MESSAGE) -> str:
    """``text`` of at most ``longest`` characters, then how many more there were; masked and cleaned.

    It is cut before it is masked, so that a text of any length costs no more than what is kept of it. A secret across the cut is left out
    as a whole.
    """
    length = str.__len__(text)
    margin = longest_secret() + _PREFIX
    window = str.__getitem__(text, slice(longest + margin))  # of exactly this class, too
    shown = clean(mask(window))
    if length <= longest + margin:
        return _cut(shown, longest)
    shown = shown[: max(min(longest, len(shown) - margin), 0)]
    return f"{shown}… ({length - len(shown)} more characters)"


def kept_ends(text: str, longest: int = LONGEST_STACK_TRACE) -> str:
    """The same with both ends of a longer text; the second begins where no secret reaches that began before it."""
    length = str.__len__(text)
    margin = longest_secret() + _PREFIX
    half = longest // 2
    if length <= longest + 2 * margin:
        return _both_ends(clean(mask(str.__getitem__(text, slice(None)))), longest)
    head = clean(mask(str.__getitem__(text, slice(half + margin))))
    tail = clean(mask(_from_third_word(str.__getitem__(text, slice(length - half - margin, None)))))
    return _joined(head[: max(min(half, len(head) - margin), 0)], tail[margin:][-half:], length)


def type_name(value: object) -> str:
    """The name of the class of ``value``, whatever that class or its metaclass says."""
    name: str = _name_of_type(type(value))
    return name


def text_of(value: object, longest: int = LONGEST_MESSAGE) -> str:
    """``str(value)``, kept; a sentence in its place when that fails."""
    kind = type(value)
    try:
        if issubclass(kind, bytes | bytearray):
            value = repr(bytes(value[: longest * 2]))  # type: ignore[index]
        return kept_text(value if issubclass(kind, str) else str(value), longest)  # type: ignore[arg-type]
    except BaseException as error:  # noqa: BLE001 - whatever it raises is no fault of who asks
        return f"<its text cannot be shown: {type_name(error)}>"


def exception_line(error: BaseException) -> str:
    """An exception as the last line of its traceback shows it, kept; of a message of several lines the first."""
    kind = type(error)
    name, module = _qualified_name_of_type(kind), text_of(_module_of_type(kind), 200)
    if module not in {"builtins", "__main__"}:
        name = f"{module}.{name}"
    text = next(iter(text_of(error).strip().splitlines()), "")
    return f"{name}: {text}" if text else name


def _cut(text: str, longest: int) -> str:
    left_out = len(text) - longest
    return text if left_out <= 0 else f"{text[:longest]}… ({left_out} more characters)"


def _both_ends(text: str, longest: int) -> str:
    half = longest // 2
    if len(text) <= longest:
        return text
    return _joined(text[:half], text[-half:], len(text))


def _joined(head: str, tail: str, length: int) -> str:
    return f"{head}\n… ({length - len(head) - len(tail)} more characters) …\n{tail}"


def _from_third_word(text: str) -> str:
    """What no secret can reach into that began before it: the first word may be the end of one, or of the ``Bearer`` of the second."""
    return (text.split(maxsplit=2) + [""] * 3)[2]
