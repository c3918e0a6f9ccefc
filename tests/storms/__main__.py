"""Entry point of ``uv run python tests/storms``, and of ``python -m storms`` with ``tests`` on the path."""

import sys
from pathlib import Path

_TESTS = Path(__file__).resolve().parents[1]
sys.path[0] = str(_TESTS)
sys.path.insert(1, str(_TESTS / "scheduler"))

from storms.cli import main  # noqa: E402 - found by the line above

if __name__ == "__main__":
    sys.exit(main())
