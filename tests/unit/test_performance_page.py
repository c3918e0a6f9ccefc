"""The tables of the performance page and of the benchmarks' README equal the last measurement."""

import json
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "benchmarks"))

from bench_results import (  # noqa: E402 - found by the line above
    BEGIN,
    END,
    PAGE,
    RESULTS,
    SUMMARY_PAGE,
    WAITS,
    document,
    measured,
    read_samples,
    render,
    summary,
    with_table,
)


@pytest.mark.parametrize(("path", "table"), [(PAGE, render), (SUMMARY_PAGE, summary)])
def test_the_page_shows_the_last_results(path, table):
    page = path.read_text(encoding="utf-8")
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    how = "uv run python tests/benchmarks/table.py --render"
    assert with_table(page, results, table) == page, how


def test_samples_become_medians_spread_and_percentiles(tmp_path: Path, monkeypatch):
    samples = tmp_path / "samples.jsonl"
    monkeypatch.setenv("BENCHMARK_SAMPLES", str(samples))
    measured(WAITS, "ours, SQLite", "at once", "ms", list(range(1, 102)))
    measured("Rates", "ours", "runs done", "runs/s", [1000, 3000])
    measured("Rates", "ours", "runs done", "runs/s", [2000])
    waits, rates = read_samples(samples)
    assert (waits.median, waits.p90, waits.p99, waits.samples) == (51, 91, 100, 101)
    assert (rates.median, rates.low, rates.high, rates.p99) == (2000, 1000, 3000, None)
    text = render(json.loads(document([waits, rates], "2026-01-02", {"memory": "8 GiB"})))
    assert "Measured on 2026-01-02. memory 8 GiB." in text
    assert "| ours | runs done | runs/s | 2,000 | 1,000 | 3,000 |  |  | 3 |" in text
    assert (
        "| ours, SQLite: at once, median | at most 10 ms | 51.0 ms | **missed** by 410% |" in text
    )


def test_a_benchmark_writes_nothing_unless_it_is_asked_to(tmp_path: Path, monkeypatch):
    monkeypatch.delenv("BENCHMARK_SAMPLES", raising=False)
    monkeypatch.chdir(tmp_path)
    measured("Rates", "ours", "runs done", "runs/s", [1])
    assert list(tmp_path.iterdir()) == []


def test_a_page_without_a_place_for_the_table_is_an_error():
    with pytest.raises(ValueError, match="benchmarks: begin"):
        with_table("# Performance\n", {"date": "", "machine": {}, "measures": []})
    assert with_table(
        f"a {BEGIN} old {END} b", {"date": "", "machine": {}, "measures": []}
    ).startswith("a <!--")


LOOP = ["Thread.run (threading.py:1)", "Handle._run (asyncio/events.py:78)"]


def test_a_flame_graph_shows_our_functions_below_the_loop_and_one_box_for_a_library():
    from flame import drawn, shortened  # only this test needs its imports

    ours = "settle (targcc_scheduler/kernel/runs/settle.py:130)"
    library = ["execute (psycopg/cursor.py:1)", "wait (psycopg/waiting.py:2)"]
    stack = shortened([*LOOP, "step (asyncio/tasks.py:1)", ours, *library])
    assert stack == ("settle (kernel/runs/settle)", "psycopg (library)")
    assert shortened([LOOP[0], ours]) == ()  # a thread beside the loop, which waits
    assert shortened([*LOOP, *library]) == ()
    graph = drawn(Counter({stack: 1, stack[:1]: 3, ("<lambda> (core/clock)",): 396}), "Title")
    assert "<title>settle (kernel/runs/settle): 1%</title>" in graph
    assert "&lt;lambda&gt; 99%" in graph
    assert "psycopg" not in graph  # less than 1 %
