"""Python as black writes it in a generated project."""

from __future__ import annotations

LINE_LENGTH = 100


def formatted(source: str) -> str:
    """`source` in black's style for the oldest Python that a project may run on."""
    import black
    from black.mode import TargetVersion

    mode = black.Mode(line_length=LINE_LENGTH, target_versions={TargetVersion.PY311})
    return black.format_str(source, mode=mode)
