import re
import sys
from pathlib import Path

import pytest
from projects import RIG
from targcc_scheduler.kernel.jobs.discovery import discover
from targcc_scheduler.kernel.node.releases import described, fingerprint_of

SOURCE = """
from pydantic import BaseModel
from targcc_scheduler import JobContext, job

class Address(BaseModel):
    street: str

class Marker:
    pass

@job("{cron}", name="Report")
async def report(ctx: JobContext) -> None:
    ...

@job(name="Mail")
class MailJob:
    async def execute(self, ctx: JobContext, user: {user}, to: Address | None = None) -> None:
        ...
"""


@pytest.fixture
def fingerprint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Return a function that computes the fingerprint of a package after one text change, each time in a new folder like a deployment."""
    name = f"jobs_of_{tmp_path.name}"
    folders = (tmp_path / str(number) for number in range(99))

    def of(old: str = "", new: str = "", cron: str = "0 2 * * *", user: str = "int") -> str:
        text = SOURCE.format(cron=cron, user=user)
        assert old in text
        folder = next(folders)
        folder.mkdir()
        (folder / f"{name}.py").write_text(text.replace(old, new), encoding="utf-8")
        with monkeypatch.context() as deployed:
            deployed.syspath_prepend(folder)
            discovered = discover(name, RIG)
            del sys.modules[name]
        return fingerprint_of(described(discovered.definitions.values()))

    return of


def test_the_same_jobs_have_the_same_fingerprint_in_any_process(fingerprint):
    assert fingerprint() == fingerprint()
    assert re.fullmatch(r"[0-9a-f]{16}", fingerprint())
    # the text of other functions does not count
    assert fingerprint("    pass", "    x = 1") == fingerprint()


def test_what_decides_which_runs_fit_changes_it(fingerprint):
    changes = [
        fingerprint(),
        fingerprint(cron="0 3 * * *"),
        fingerprint(user="str"),
        fingerprint('name="Mail"', 'name="Post"'),
        fingerprint("ctx: JobContext, user", "ctx: JobContext, extra: str, user"),
        fingerprint(" | None = None", ""),
        # a field within an argument's model
        fingerprint("    street: str", "    street: str\n    city: str"),
    ]
    assert len(set(changes)) == len(changes)
