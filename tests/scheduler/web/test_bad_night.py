"""A bad night in Chromium: 207 failures of six causes, a paused queue, a dead server, a late job; green only after every repair.

Each page must fit the screen width and pass axe, in both themes.
"""

import importlib.resources
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from chromium import chromium
from projects import PATH
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait
from targcc_scheduler import migrate

pytestmark = pytest.mark.soak

FAILURES = {"Charge": 120, "Mail": 40, "Import": 30, "Export": 10}
LONG = "Reconcile" + "ABCDEFGHIJKLMNOPQRST" * 3 + "Accounts"
AXE = (importlib.resources.files("axe_playwright_python") / "axe.min.js").read_text(
    encoding="utf-8"
)
UNFOLD = "for (const one of document.querySelectorAll('details')) one.open = true"
CLEAN = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}


class Night:
    """Folder of a project with its database and processes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "night.db"
        self.url = f"sqlite:///{self.file}"
        self.processes: list[subprocess.Popen[str]] = []
        migrate(self.url)

    def start(self, *command: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "night_jobs", *command],
            cwd=self.folder,
            env=os.environ
            | {
                "PYTHONPATH": PATH,
                "PYTHONUNBUFFERED": "1",
                "TARGCC_DATABASE_URL": self.url,
                "TARGCC_HEARTBEAT_SECONDS": "0.5",
                "TARGCC_KEEPALIVE": "false",
            },
            stdout=subprocess.PIPE,
            text=True,
        )
        self.processes.append(process)
        return process

    def targcc(self, *command: str) -> str:
        """Run a command of this project and return its output."""
        process = self.start(*command)
        output, _ = process.communicate(timeout=60)
        return output

    def rows(self, sql: str, *values: Any) -> list[Any]:
        with closing(sqlite3.connect(self.file, timeout=30)) as connection, connection:
            return connection.execute(sql, values).fetchall()

    def until(self, condition: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + 60
        while not (value := condition()):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        return value


def _enqueue(night: Night) -> int:
    """Enqueue 207 runs that will fail with six causes; return their number."""
    night.rows("DELETE FROM c_JobRun")
    now = datetime.now(UTC).replace(tzinfo=None).isoformat(" ")
    number = 0
    for job, many in {**FAILURES, LONG: 7}.items():
        for _ in range(many):
            number += 1
            night.rows(
                "INSERT INTO c_JobRun (JobName, JobType, State, Queue, Priority, ArgumentsJson, DueAt, CreatedAt, TriggeredBy)"
                " VALUES (?, 'Manual', 'enqueued', ?, 0, ?, ?, ?, 'System')",
                *(job, "slow" if job == "Export" else "default", json.dumps({"customer": number})),
                *(now, now),
            )
    return number


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Night]:
    """The night as the on-call person finds it."""
    made = Night(tmp_path_factory.mktemp("night"))
    (made.folder / "broken").touch()
    assert _enqueue(made) == 207
    ago = (datetime.now(UTC) - timedelta(hours=3)).replace(tzinfo=None).isoformat(" ")
    made.rows("INSERT INTO c_JobConcern VALUES ('Ledger', 'watched', ?, '')", ago)
    web = made.start("serve", "--port", "0")
    assert web.stdout is not None
    link = next(line.split()[1] for line in web.stdout if line.startswith("Open"))
    made.link = link  # type: ignore[attr-defined]
    failed = "SELECT count(*) FROM c_JobRun WHERE State = 'failed'"
    made.until(lambda: made.rows(failed)[0][0] == 207)
    (made.folder / "broken").unlink()
    made.targcc("queue", "pause", "slow", "--reason", "the disk is full")
    changed = ("override", "set", "Ledger", "--schedule", "30 4 * * *", "--queue", "slow")
    made.targcc(*changed, "--reason", "x" * 300, "--yes")
    _lose_a_server(made)
    made.until(lambda: made.rows("SELECT 1 FROM c_JobConcern WHERE Kind = 'at_least'"))
    yield made
    for process in made.processes:
        if process.poll() is None:
            process.terminate()
            process.communicate(timeout=60)


def _lose_a_server(night: Night) -> None:
    """Kill a worker and wait until the other worker notices."""
    before = night.rows("SELECT count(*) FROM c_JobServer")[0][0]
    worker = night.start("worker")
    night.until(lambda: night.rows("SELECT count(*) FROM c_JobServer")[0][0] > before)
    worker.send_signal(signal.SIGKILL)
    worker.communicate(timeout=60)
    night.until(lambda: night.rows("SELECT 1 FROM c_JobConcern WHERE Kind = 'node'"))


@pytest.fixture(scope="module")
def browser(
    processes: None, tmp_path_factory: pytest.TempPathFactory, night: Night  # noqa: ARG001 - ring 2
) -> Iterator[Chrome]:
    """A browser with a signed-in person."""
    with chromium(tmp_path_factory.mktemp("profile")) as driver:
        driver.get(night.link)  # type: ignore[attr-defined]
        yield driver


def wait(browser: Chrome, condition: Callable[[Chrome], Any]) -> Any:
    return WebDriverWait(browser, 30, poll_frequency=0.05).until(condition)


def text(browser: Chrome) -> str:
    return str(browser.find_element(By.TAG_NAME, "body").text)


def shown(browser: Chrome, said: str) -> None:
    wait(browser, lambda b: said in text(b))


def base(night: Night) -> str:
    return str(night.link).partition("/login")[0]  # type: ignore[attr-defined]


def addresses(night: Night) -> list[str]:
    """Return one URL for each kind of page."""
    cause = night.rows("SELECT Cause FROM c_JobFailure WHERE JobName = ?", LONG)[0][0]
    run = night.rows("SELECT max(Id) FROM c_JobRun WHERE JobName = ?", LONG)[0][0]
    return [
        "",
        "/jobs",
        f"/jobs/{LONG}",
        "/jobs/Ledger",
        f"/jobs/Ledger/override?schedule=0+5+*+*+*&retries=1&reason={'x' * 300}",
        "/runs",
        f"/runs/{run}",
        "/inbox",
        f"/inbox/{cause}",
        "/bulk",
        "/bulk/new?do=retry&state=failed",
        "/calendar",
        "/calendar?view=day",
        "/calendar?day=2027-03-25",
        "/timeline",
        "/timeline?hours=48",
        "/heatmap",
        "/system",
        "/audit",
        "/account",
        "/people",
        "/account/second-factor",
        "/runs/999999",
        "/../api/docs",
    ]


def set_screen(browser: Chrome, width: int, theme: str) -> None:
    """Set the screen width in CSS pixels, and the theme."""
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False},
    )
    feature = {"name": "prefers-color-scheme", "value": theme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})


def test_no_page_is_wider_than_the_screen(browser: Chrome, night: Night):
    wide = []
    for width in (380, 1280):
        set_screen(browser, width, "light")
        for address in addresses(night):
            browser.get(f"{base(night)}{address}")
            browser.execute_script(UNFOLD)
            needs = browser.execute_script("return document.documentElement.scrollWidth")
            if needs > width:
                wide.append((address, width, needs))
    assert wide == [], json.dumps(wide)


def test_axe_finds_nothing(browser: Chrome, night: Night):
    violations = []
    for theme, width in (("light", 1280), ("dark", 380)):
        set_screen(browser, width, theme)
        for address in addresses(night):
            browser.get(f"{base(night)}{address}")
            browser.execute_script(UNFOLD)
            browser.execute_script(AXE)
            result = browser.execute_async_script(
                "const done = arguments[arguments.length - 1]; axe.run(document, arguments[0]).then(done)",
                CLEAN,
            )
            violations += [
                (
                    theme,
                    address,
                    violation["id"],
                    [node["html"][:200] for node in violation["nodes"][:3]],
                )
                for violation in result["violations"]
            ]
    assert violations == [], json.dumps(violations, indent=1)


def test_login_and_error_pages_are_not_stretched(browser: Chrome, night: Night):
    set_screen(browser, 1280, "light")
    browser.get(f"{base(night)}/runs/999999")
    width = browser.execute_script("return document.querySelector('main').offsetWidth")
    assert width < 500


def test_the_night_is_mended_and_only_then_it_is_green(browser: Chrome, night: Night):
    """Every problem is found and repaired from the overview within three clicks, including a confirmation."""
    set_screen(browser, 1280, "light")
    browser.get(base(night))
    title = browser.find_element(By.ID, "banner").text
    assert "and 8 more items need attention" in title
    assert "s-good" not in browser.page_source

    with three_clicks(browser, night) as click:
        shown(browser, "Queue slow is paused")
        assert "the disk is full" in text(browser)
        click(_beside(browser, "Queue slow is paused", "Resume").click)
    wait(browser, lambda b: "Queue slow is paused" not in text(b))

    with three_clicks(browser, night) as click:
        shown(browser, "is missing")
        click(_beside(browser, "is missing", "Mark as seen").click)
    wait(browser, lambda b: "is missing" not in text(b))

    with three_clicks(browser, night) as click:
        shown(browser, "Ledger is late")
        click(_beside(browser, "Ledger is late", "Run now").click)
    closed = "SELECT 1 FROM c_JobRun WHERE JobName = 'Ledger' AND State = 'succeeded'"
    night.until(lambda: night.rows(closed))

    causes = night.rows("SELECT Cause FROM c_JobFailure ORDER BY Cause")
    assert len(causes) == 6
    for number, (cause,) in enumerate(causes):
        with three_clicks(browser, night) as click:
            banner = browser.find_element(By.CSS_SELECTOR, ".banner")
            assert banner.get_attribute("class") != "banner good"
            click(browser.find_element(By.CSS_SELECTOR, f'a[href$="/inbox/{cause}"]').click)
            if number:
                click(browser.find_element(By.XPATH, "//button[starts-with(., 'Retry')]").click)
                click(wait(browser, lambda b: b.switch_to.alert).accept)
                shown(browser, "Retry of")
            else:
                click(browser.find_element(By.ID, "act").click)
                browser.find_element(By.ID, "note").send_keys("known to the bank")
                click(browser.find_element(By.XPATH, "//button[text()='Acknowledge']").click)
                shown(browser, "Acknowledged")
    waiting = "SELECT 1 FROM c_JobRun WHERE State IN ('enqueued', 'running', 'scheduled')"
    night.until(lambda: not night.rows(waiting))
    browser.get(base(night))
    wait(browser, lambda b: b.find_element(By.CSS_SELECTOR, ".banner.good"))
    # one cause was acknowledged, and its job has not run since
    assert browser.find_element(By.ID, "banner").text == "All failed jobs have recovered"
    done = night.rows(
        "SELECT count(*) FROM c_JobRun WHERE State = 'succeeded' AND RetryOf IS NOT NULL"
    )
    [acknowledged] = night.rows(
        "SELECT count(*) FROM c_JobRun WHERE Handling = 'acknowledged: known to the bank'"
    )
    assert done[0][0] + acknowledged[0] == 207
    browser.get(f"{base(night)}/inbox")
    shown(browser, "Nothing needs attention")


@contextmanager
def three_clicks(browser: Chrome, night: Night) -> Iterator[Callable[[Callable[[], None]], None]]:
    """Yield a click function that allows three clicks from the overview."""
    done: list[Callable[[], None]] = []

    def click(press: Callable[[], None]) -> None:
        done.append(press)
        press()

    browser.get(base(night))
    yield click
    assert 0 < len(done) <= 3


def _beside(browser: Chrome, what: str, label: str) -> WebElement:
    """Return the button beside a problem."""
    row = f"//li[.//b[contains(., '{what}')]]//button[text()='{label}']"
    return browser.find_element(By.XPATH, row)
