"""Live log in Chromium: follow, pause, search, survive without events, and stay smooth with ten megabytes."""

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from chromium import chromium
from projects import PATH
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

pytestmark = pytest.mark.soak
RED = "\x1b[31m"


class Log:
    """Write to the server's database."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def change(self, sql: str, rows: list[tuple[Any, ...]]) -> None:
        connection = sqlite3.connect(self.path, timeout=60)
        with connection:
            connection.executemany(sql, rows)
        connection.close()

    def run(self, state: str) -> int:
        """Insert a run that no node executes; return its id."""
        connection = sqlite3.connect(self.path, timeout=60)
        now = datetime.now(UTC).replace(tzinfo=None)
        with connection:
            row = ("DailyReport", "Recurring", state, "default", now, now, "System", "")
            cursor = connection.execute(
                "INSERT INTO c_JobRun (JobName, JobType, State, Queue, DueAt, CreatedAt, TriggeredBy, LifeLog)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                row,
            )
        connection.close()
        return int(cursor.lastrowid or 0)

    def write(self, run_id: int, texts: list[str]) -> None:
        now = datetime.now(UTC).replace(tzinfo=None)
        sql = "INSERT INTO c_JobLogLine (RunId, Attempt, At, Level, Message) VALUES (?, 1, ?, 'info', ?)"
        self.change(sql, [(run_id, now, text) for text in texts])

    def batch(self, kind: str, total: int) -> int:
        """Insert a batch or flow that makes no progress; return its id."""
        connection = sqlite3.connect(self.path, timeout=60)
        now = datetime.now(UTC).replace(tzinfo=None)
        row = ("MonthEnd", kind, "running", "System", now, total, total, self.steps("waiting"))
        with connection:
            cursor = connection.execute(
                "INSERT INTO c_JobBatch (Name, Kind, State, CreatedBy, CreatedAt, Total, Pending, DefinitionJson)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                row,
            )
        connection.close()
        return int(cursor.lastrowid or 0)

    def advance(self, batch_id: int, *, over: bool) -> None:
        """Mark a part of the batch as done, or all of it with ``over``."""
        now = datetime.now(UTC).replace(tzinfo=None)
        state = "succeeded" if over else "running"
        row = (state, 0 if over else 1, now if over else None, self.steps(state), batch_id)
        sql = "UPDATE c_JobBatch SET State = ?, Pending = ?, CompletedAt = ?, DefinitionJson = ? WHERE Id = ?"
        self.change(sql, [row])

    @staticmethod
    def steps(state: str) -> str:
        step = {"said": {}, "job": "DailyReport", "queue": "default", "priority": 0, "given": None}
        return json.dumps({"load": {**step, "state": state}})

    def end(self, run_id: int) -> None:
        now = datetime.now(UTC).replace(tzinfo=None)
        sql = "UPDATE c_JobRun SET State = 'succeeded', CompletedAt = ? WHERE Id = ?"
        self.change(sql, [(now, run_id)])


@pytest.fixture
def log(database_url: str) -> Log:
    return Log(Path(database_url.removeprefix("sqlite:///")))


@pytest.fixture
def link(database_url: str, tmp_path: Path) -> Iterator[str]:
    """Yield the login link of a server without a worker."""
    process = subprocess.Popen(
        [sys.executable, "-m", "web_jobs", "serve", "--port", "0"],
        cwd=tmp_path,
        env=os.environ
        | {
            "PYTHONPATH": PATH,
            "PYTHONUNBUFFERED": "1",
            "TARGCC_DATABASE_URL": database_url,
            "TARGCC_MODE": "pages",
        },
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    yield next(line.split()[1] for line in process.stdout if line.startswith("Open"))
    process.terminate()
    process.communicate(timeout=60)


@pytest.fixture
def browser(processes: None, tmp_path: Path) -> Iterator[Chrome]:  # noqa: ARG001 - ring 2
    with chromium(tmp_path / "profile", keeps_log=True) as driver:
        driver.set_script_timeout(120)
        yield driver


def wait(browser: Chrome, condition: Callable[[Chrome], Any]) -> Any:
    return WebDriverWait(browser, 60, poll_frequency=0.05).until(condition)


def lines(browser: Chrome) -> list[str]:
    """Return the texts of the visible lines."""
    texts: list[str] = browser.execute_script(
        "return [...document.querySelectorAll('#log li:not([hidden]) > bdi')].map(one => one.textContent)"
    )
    return texts


def press(browser: Chrome, selector: str) -> None:
    browser.find_element(By.CSS_SELECTOR, selector).click()


def test_a_log_is_followed_paused_and_searched(browser: Chrome, link: str, log: Log):
    run_id = log.run("running")
    log.write(run_id, ["begun"])
    browser.get(link)
    base = link.partition("/login")[0]
    browser.get(f"{base}/runs/{run_id}")
    log.write(run_id, [f"{RED}red & <b>\x1b[0m see https://a.example/x.", "second"])
    wait(browser, lambda b: len(lines(b)) == 3)
    assert lines(browser) == ["begun", "red & <b> see https://a.example/x.", "second"]
    red = browser.find_element(By.CSS_SELECTOR, "#log .a-f1")
    plain = browser.find_element(By.CSS_SELECTOR, "#log li")
    assert red.value_of_css_property("color") != plain.value_of_css_property("color")
    anchor = browser.find_element(By.CSS_SELECTOR, "#log a")
    assert (anchor.text, anchor.get_attribute("rel")) == (
        "https://a.example/x",
        "noopener noreferrer nofollow",
    )
    press(browser, "[data-pause]")
    log.write(run_id, ["while paused"])
    wait(browser, lambda b: "1 new" in b.find_element(By.CSS_SELECTOR, "[data-pause]").text)
    assert "while paused" not in lines(browser)
    press(browser, "[data-pause]")
    wait(browser, lambda b: lines(b)[-1] == "while paused")
    browser.find_element(By.CSS_SELECTOR, "[data-log-tools] input").send_keys("SECOND")
    wait(browser, lambda b: lines(b) == ["second"])
    log.write(run_id, ["a second one", "another"])
    wait(browser, lambda b: lines(b) == ["second", "a second one"])
    assert browser.find_element(By.CSS_SELECTOR, "[data-found]").text == "2 lines"
    log.end(run_id)
    wait(browser, lambda b: b.find_elements(By.CSS_SELECTOR, "#live [data-final]"))
    assert "succeeded" in browser.find_element(By.CSS_SELECTOR, "#live h1").text.lower()

    other = log.run("running")
    blocked = "window.EventSource = class { static CLOSED = 2; addEventListener(name, f) { if (name === 'error') setTimeout(f); } close() {} readyState = 2; };"
    script = browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": blocked})
    browser.get(f"{base}/runs/{other}")
    log.write(other, ["polled"])
    wait(browser, lambda b: lines(b) == ["polled"])
    log.end(other)
    wait(browser, lambda b: b.find_elements(By.CSS_SELECTOR, "#live [data-final]"))
    browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", script)

    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    browser.get(f"{base}/runs/{other}")
    assert browser.find_element(By.CSS_SELECTOR, "#log li bdi").text == "polled"
    assert not browser.find_element(By.CSS_SELECTOR, "[data-log-tools]").is_displayed()
    assert [entry["message"] for entry in browser.get_log("browser")] == []


def test_the_pages_of_a_batch_and_a_flow_follow_it(browser: Chrome, link: str, log: Log):
    batch, flow = log.batch("batch", 4), log.batch("flow", 1)
    browser.get(link)
    base = link.partition("/login")[0]
    browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": COUNT_STREAMS})
    for kind, key, part, over in (
        ("batches", batch, "3 of 4", "4 of 4"),
        ("flows", flow, "running", "succeeded"),
    ):
        browser.get(f"{base}/{kind}/{key}")
        wait(browser, lambda b: b.execute_script("return window.heard") == 1)
        log.advance(key, over=False)
        wait(browser, lambda b: b.execute_script("return window.heard") == 2)
        wait(browser, lambda b, part=part: part in b.find_element(By.ID, "live").text)
        log.advance(key, over=True)
        wait(browser, lambda b, over=over: over in b.find_element(By.ID, "live").text)
        assert not browser.find_elements(By.CSS_SELECTOR, "#live [data-live]")
        assert browser.execute_script("return window.opened") == 1
    browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": SILENT_STREAMS})
    browser.get(f"{base}/batches/{log.batch('batch', 4)}")
    wait(browser, lambda b: b.execute_script("return window.streams.length") == 1)
    patient, closed = browser.execute_script(OUT_OF_SIGHT_FOR_A_MOMENT)
    assert (patient, closed) == (0, [True, False])  # the second stream has no timer left
    assert [entry["message"] for entry in browser.get_log("browser")] == []


COUNT_STREAMS = """
window.opened = window.heard = 0;
window.EventSource = class extends window.EventSource {
  constructor(address) {
    super(address);
    window.opened += 1;
    for (const name of ["batch", "flow"]) this.addEventListener(name, () => { window.heard += 1; });
  }
};
"""
SILENT_STREAMS = """
window.streams = [];
window.EventSource = class {
  static CLOSED = 2;
  heard = {};
  closed = false;
  constructor() { window.streams.push(this); }
  addEventListener(name, hear) { this.heard[name] = hear; }
  close() { this.closed = true; }
};
window.patient = new Set();
const [set, clear] = [window.setTimeout, window.clearTimeout];
window.setTimeout = (call, after) => {
  const timer = set(call, after);
  if (after === 10000) window.patient.add(timer);
  return timer;
};
window.clearTimeout = timer => { window.patient.delete(timer); clear(timer); };
"""
"""Replace streams by silent streams, and record the timers that give up on streams."""
OUT_OF_SIGHT_FOR_A_MOMENT = """
for (const hidden of [true, false]) {
  Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
  document.dispatchEvent(new Event("visibilitychange"));
}
window.streams[1].heard.batch();
return [window.patient.size, window.streams.map(one => one.closed)];
"""
MEASURE = """
const done = arguments[arguments.length - 1];
const log = document.getElementById('log');
const frames = [];
let last = performance.now(), left = 90;
function frame(now) {
  frames.push(now - last);
  last = now;
  log.scrollTop = (left * 7919) % log.scrollHeight;
  if (left--) requestAnimationFrame(frame);
  else done(frames.slice(2).sort((a, b) => a - b));
}
requestAnimationFrame(frame);
"""


def test_ten_megabytes_stay_smooth(browser: Chrome, link: str, log: Log):
    small, large = log.run("running"), log.run("running")
    log.write(small, ["x" * 1_000] * 50)
    text = "word " * 190
    log.write(large, [f"{number} {text}" for number in range(10_500)])
    browser.get(link)
    base = link.partition("/login")[0]
    took = {}
    for run_id in (small, large):
        browser.get(f"{base}/runs/{run_id}")
        wait(browser, lambda b: b.find_elements(By.CSS_SELECTOR, "#log li"))
        if run_id == large:
            browser.find_element(By.CSS_SELECTOR, "[data-log-tools] input").send_keys("7777 word")
            wait(browser, lambda b: [line[:5] for line in lines(b)] == ["7777 "])
            whole = browser.find_element(By.CSS_SELECTOR, ".log-earlier")
            wait(browser, lambda _, whole=whole: not whole.is_displayed())
            field = browser.find_element(By.CSS_SELECTOR, "[data-log-tools] input")
            field.clear()
            browser.execute_script("arguments[0].dispatchEvent(new Event('input'))", field)
            wait(browser, lambda b: len(lines(b)) == 10_500)
        took[run_id] = browser.execute_async_script(MEASURE)
    middle = {run_id: frames[len(frames) // 2] for run_id, frames in took.items()}
    assert middle[large] < 4 * middle[small] + 20, took
    log.write(large, ["the newest"])
    wait(browser, lambda b: lines(b)[-1] == "the newest")
