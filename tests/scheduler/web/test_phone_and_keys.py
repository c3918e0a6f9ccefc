"""The dashboard in Chromium: the list of runs and the navigation on a phone, and the palette by keys alone."""

import importlib.resources
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from chromium import chromium
from guarantee_rig import Ledger
from projects import PATH
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait
from targcc_scheduler.db.tables import job_run

PHONE = {"width": 380, "height": 800, "deviceScaleFactor": 1, "mobile": False}
_AXE = (importlib.resources.files("axe_playwright_python") / "axe.min.js").read_text("utf-8")
_RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}
_AT = datetime(2026, 11, 25, 8, tzinfo=UTC)
_RUN = {
    **dict.fromkeys(("DueAt", "CreatedAt", "StartedAt", "CompletedAt"), _AT),
    "JobType": "Manual",
    "Priority": 0,
    "TriggeredBy": "Manual (dana)",
    "LifeLog": "",
    "Message": "WarehouseError: the warehouse answered 503 Service Unavailable to all of its 12 customers",
    "Attempt": 1,
}
_LINES = """
return [...document.querySelectorAll("table.runs tbody tr")].map(row => {
  const style = getComputedStyle(row);
  const inside = row.clientHeight - parseFloat(style.paddingTop) - parseFloat(style.paddingBottom);
  return Math.floor(inside / parseFloat(style.lineHeight));
});
"""
"""Lines of text that fit into each run of the list."""
_IN_VIEW = """
const place = document.querySelector(".bar nav [aria-current]").getBoundingClientRect();
return place.left >= 0 && place.right <= innerWidth && place.width > 0;
"""


@pytest.fixture
def link(
    processes: None, database_url: str, tmp_path: Path  # noqa: ARG001 - ring 2
) -> Iterator[str]:
    """Yield the login link of a server whose database has 60 runs."""
    rows = []
    for number in range(60):
        job, state = ("SyncStock", "failed") if number % 3 else ("DailyReport", "succeeded")
        queue = "slow" if number % 2 else "default"
        rows.append(_RUN | {"JobName": job, "State": state, "Queue": queue})
    Ledger(database_url).change(sa.insert(job_run).values(rows))
    process = subprocess.Popen(
        [sys.executable, "-m", "web_jobs", "serve", "--port", "0"],
        cwd=tmp_path,
        env=os.environ
        | {"PYTHONPATH": PATH, "PYTHONUNBUFFERED": "1", "TARGCC_DATABASE_URL": database_url},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    yield next(line.split()[1] for line in process.stdout if line.startswith("Open"))
    process.terminate()
    process.communicate(timeout=30)


@pytest.fixture
def browser(link: str, tmp_path: Path) -> Iterator[Chrome]:
    """A browser in which a person has signed in."""
    with chromium(tmp_path / "profile", keeps_log=True) as driver:
        driver.get(link)
        yield driver


def wait(browser: Chrome, condition: Callable[[Chrome], Any]) -> Any:
    return WebDriverWait(browser, 30, poll_frequency=0.05).until(condition)


def base(link: str) -> str:
    return link.partition("/login")[0]


def violations(browser: Chrome) -> list[tuple[str, str]]:
    """Return the accessibility rules that the page breaks, each with the first element."""
    browser.execute_script(_AXE)
    run = "axe.run(document, arguments[0]).then(arguments[1])"
    broken = browser.execute_async_script(run, _RULES)["violations"]
    return [(rule["id"], rule["nodes"][0]["html"][:200]) for rule in broken]


@pytest.mark.parametrize("language", ["en", "he"])
def test_runs_and_navigation_fit_a_phone(browser: Chrome, link: str, language: str):
    browser.add_cookie({"name": "targcc_language", "value": language})
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
    browser.get(f"{base(link)}/runs")
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 380
    lines = browser.execute_script(_LINES)
    assert (len(lines), set(lines)) == (50, {2})
    assert browser.execute_script("return document.documentElement.scrollHeight") < 3_000
    assert violations(browser) == []
    addresses = browser.execute_script(
        "return [...document.querySelectorAll('.bar nav a')].map(link => link.href)"
    )
    hidden = []
    for address in addresses:
        browser.get(address)
        if not browser.execute_script(_IN_VIEW):
            hidden.append(address)
    assert (len(addresses) > 5, hidden) == (True, [])


def test_the_palette_leads_to_jobs_runs_and_pages_by_keys_alone(browser: Chrome):
    def palette(*keys: str) -> None:
        page = browser.find_element(By.TAG_NAME, "body")
        page.send_keys(Keys.CONTROL, "k")
        box = wait(browser, lambda b: b.find_element(By.ID, "palette-input"))
        wait(browser, lambda b: b.find_elements(By.CSS_SELECTOR, "#palette-list li"))
        box.send_keys(*keys)

    palette("stock", Keys.ENTER)
    wait(browser, lambda b: b.current_url.endswith("/jobs/SyncStock"))
    assert violations(browser) == []
    palette("#7", Keys.ENTER)
    wait(browser, lambda b: b.current_url.endswith("/runs/7"))
    palette(Keys.ARROW_DOWN)
    assert violations(browser) == []
    active = browser.switch_to.active_element.get_attribute("aria-activedescendant")
    chosen = browser.find_element(By.CSS_SELECTOR, '#palette-list [aria-selected="true"]')
    assert (active, chosen.text) == (chosen.get_attribute("id"), "Jobs")
    browser.switch_to.active_element.send_keys(Keys.ENTER)
    wait(browser, lambda b: b.current_url.endswith("/jobs/jobs"))
    palette("no such page")
    wait(browser, lambda b: b.find_element(By.ID, "palette-none").is_displayed())
    browser.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert not browser.find_element(By.ID, "palette").is_displayed()
    assert browser.get_log("browser") == []
