"""Entry point of ``uv run python tests/tsql``."""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from tsql.cli import main  # noqa: E402 - found by the line above

if __name__ == "__main__":
    sys.exit(main())
