"""The command for whoever has a SQL Server: counts, result files, and the column on the page of promises."""

import json
from xml.etree import ElementTree as ET

import pytest

from sql_server import kit, page

REPORT = """\
<testsuites><testsuite>
<testcase classname="scheduler.limits.test_limits" name="test_a[mssql]" time="1"/>
<testcase classname="scheduler.limits.test_limits" name="test_b[mssql]" time="1"><failure message="assert 1 == 2&#10;more">text</failure></testcase>
<testcase classname="scheduler.limits.test_limits" name="test_c[mssql]" time="1"><skipped message="no server"/></testcase>
</testsuite></testsuites>
"""
SERVER = {
    "product": "Microsoft SQL Server 2022",
    "targcc": "0.2.0",
    "commit": "c0ffee",
    "babelfish": None,
}
ROW = ["A promise", "`test_a`<br>`test_b`", "the same tests"]


def test_a_skipped_test_counts_as_failed():
    result = kit.Result("contract", "all")
    kit.count(ET.ElementTree(ET.fromstring(REPORT)), result)
    assert (result.passed, result.failed) == (1, 2)
    assert list(result.failures.values()) == ["assert 1 == 2", "no server"]
    assert result.tests == ["scheduler.limits.test_limits::test_a[mssql]"]


def test_the_result_names_versions_counts_and_failures(tmp_path):
    failures = {"scheduler.limits.test_limits::test_b[mssql]": "assert 1 == 2"}
    result = kit.Result("contract", "every test", passed=1, failed=1, seconds=7, failures=failures)
    kit.write(tmp_path / "out", SERVER, [result])
    written = json.loads((tmp_path / "out.json").read_text())
    assert (written["server"]["product"], written["parts"][0]["failed"]) == (SERVER["product"], 1)
    text = (tmp_path / "out.md").read_text()
    assert "# targcc-scheduler 0.2.0 on Microsoft SQL Server 2022" in text
    assert "| contract | 1 | 1 | 7 | every test |" in text
    assert "* `scheduler.limits.test_limits::test_b[mssql]`: assert 1 == 2" in text


def _kept(passed=(), failed=()):
    return {
        "passed": [f"m::{name}[mssql]" for name in passed],
        "failed": [f"m::{name}[mssql]" for name in failed],
    }


@pytest.mark.parametrize(
    ("server", "babelfish", "cell"),
    [
        (None, None, "not run yet"),
        (None, _kept(["test_a", "test_other"]), "not run yet; Babelfish: 1 of 2 tests pass"),
        (
            _kept(["test_a", "test_b"]),
            _kept(["test_a"]),
            "2 of 2 tests pass; Babelfish: 1 of 2 tests pass",
        ),
        (_kept(["test_a"], ["test_b"]), None, "fails: `test_b`"),
        (_kept(["test_other"]), None, ""),
    ],
)
def test_the_cell_of_a_promise(server, babelfish, cell):
    assert page.cell(ROW, {"server": server, "babelfish": babelfish}) == cell


def test_the_page_says_what_the_kept_results_show():
    text = page.PAGE.read_text(encoding="utf-8")
    kept = json.loads(page.RESULTS.read_text(encoding="utf-8"))
    assert page.with_column(text, kept) == text
    assert text.count("| not run yet") > 100 or kept["server"] is not None


def test_a_result_replaces_the_kept_one_and_fills_the_column(tmp_path, monkeypatch):
    (tmp_path / "page.md").write_text(
        f"| promise | SQLite | PostgreSQL |\n|---|---|---|\n| {' | '.join(ROW)} |\n"
    )
    (tmp_path / "kept.json").write_text('{"server": null, "babelfish": null}')
    monkeypatch.setattr(page, "PAGE", tmp_path / "page.md")
    monkeypatch.setattr(page, "RESULTS", tmp_path / "kept.json")
    server = {**SERVER, "driver": "mssql-python 1.16"}
    result = kit.Result("contract", "all", passed=1, tests=["m::test_a[mssql]"])
    kit.write(tmp_path / "new", server, [result])
    assert kit.main(["--page", str(tmp_path / "new.json")]) == 0
    assert "| 1 of 2 tests pass |" in (tmp_path / "page.md").read_text()


def test_a_command_without_a_url_says_how_one_looks(capsys, monkeypatch):
    monkeypatch.delenv(kit.VARIABLE, raising=False)
    with pytest.raises(SystemExit):
        kit.main([])
    assert "--url is missing, such as mssql://sa:PASSWORD@127.0.0.1" in capsys.readouterr().err


def test_a_url_that_is_none_is_named(capsys):
    with pytest.raises(SystemExit) as ended:
        kit.main(["--url", "nonsense"])
    assert ended.value.code == 2
    assert "--url is no URL; it looks like mssql://sa:PASSWORD@127.0.0.1" in capsys.readouterr().err
