"""Each message quoted on the troubleshooting page is printed by the code."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "troubleshooting.md"
FROM_ELSEWHERE = {
    "database is locked",  # of SQLite
    "Failed to load the driver",  # of mssql-python
}


def quoted() -> list[str]:
    """Return the messages in code marks in the first column of the page's tables."""
    text = PAGE.read_text(encoding="utf-8")
    return re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)


def sources() -> str:
    """Return the texts of the code; a literal continued on the next line counts as one literal."""
    roots = (ROOT / "generator/targcc_gen", ROOT / "templates/scheduler/targcc_scheduler")
    files = [path for root in roots for end in ("py", "html") for path in root.rglob(f"*.{end}")]
    text = "\n".join(path.read_text(encoding="utf-8") for path in files)
    return re.sub(r"[\"']\s*\n\s*f?[\"']", "", text)


def test_each_message_is_one_that_the_code_prints():
    printed = sources()
    messages = [message for message in quoted() if message not in FROM_ELSEWHERE]
    assert len(messages) > 30
    wrong = [
        message
        for message in messages
        if any(part.strip() and part.strip() not in printed for part in message.split("…"))
    ]
    assert wrong == []
