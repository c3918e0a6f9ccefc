"""Fixtures shared by several folders."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import croniter  # noqa: F401 - its import asks the machine for its architecture: a process
import pytest
from targcc_gen.readers.exports import read_exports
from targcc_gen.sources.c_job.source import CJobSource
from targcc_gen.sources.model import Options

ZONE = ZoneInfo("Asia/Jerusalem")
NOW = datetime(2026, 11, 25, 1, 0, tzinfo=UTC)


@pytest.fixture
def bring(tmp_path):
    """Return a function that writes T-SQL files and imports their rows."""

    def run(*scripts, project=None, zone=ZONE, **options):
        paths = []
        for number, script in enumerate(scripts):
            paths.append(tmp_path / f"{number}.sql")
            paths[-1].write_text(script, encoding="utf-8")
        source = CJobSource()
        files = read_exports(paths, source.tables, source.take)
        result = source.convert(files, Options(zone, NOW, **options), project=project)
        ends = len(result.jobs) + len(result.inactive) + len(result.rejected)
        assert ends == result.rows
        return result

    return run
