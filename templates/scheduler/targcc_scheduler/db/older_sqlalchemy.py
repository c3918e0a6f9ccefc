"""What releases of SQLAlchemy before 2.0.24 lack."""

from __future__ import annotations

try:
    from sqlalchemy.util.concurrency import in_greenlet
except ImportError:  # before 2.0.24
    from greenlet import getcurrent  # type: ignore[import-untyped, unused-ignore]  # its stubs are a package apart

    def in_greenlet() -> bool:
        """Return whether the calling code runs below an async connection or session."""
        return hasattr(getcurrent(), "driver")


__all__ = ["in_greenlet"]
