"""Walk through the dashboard in Chromium: sign in by the link, run a job, watch it, open a failure, retry it."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from chromium import chromium
from projects import PATH
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

pytestmark = pytest.mark.soak


@pytest.fixture
def link(database_url: str, tmp_path: Path) -> Iterator[str]:
    """Yield the login link of a server."""
    process = subprocess.Popen(
        [sys.executable, "-m", "web_jobs", "serve", "--port", "0"],
        cwd=tmp_path,
        env=os.environ
        | {
            "PYTHONPATH": PATH,
            "PYTHONUNBUFFERED": "1",
            "TARGCC_DATABASE_URL": database_url,
        },
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    yield next(line.split()[1] for line in process.stdout if line.startswith("Open"))
    process.terminate()
    process.communicate(timeout=30)


@pytest.fixture
def browser(processes: None, tmp_path: Path) -> Iterator[Chrome]:  # noqa: ARG001 - ring 2
    with chromium(tmp_path / "profile", keeps_log=True) as driver:
        yield driver


def wait(browser: Chrome, condition: Callable[[Chrome], Any]) -> Any:
    return WebDriverWait(browser, 20, poll_frequency=0.05).until(condition)


def shown(browser: Chrome, text: str) -> Any:
    """Wait until the page shows a text."""
    return wait(browser, lambda b: text in b.find_element(By.TAG_NAME, "body").text)


def complaints(browser: Chrome) -> list[str]:
    """Return the browser's console messages, such as content policy violations."""
    return [entry["message"] for entry in browser.get_log("browser")]


def press(browser: Chrome, job: str, label: str) -> None:
    row = browser.find_element(By.ID, f"job-{job}")
    row.find_element(By.XPATH, f".//button[text()='{label}']").click()


def test_a_walk(browser: Chrome, link: str):
    browser.get(link)
    shown(browser, "1 job file failed to load")
    browser.find_element(By.LINK_TEXT, "Jobs").click()

    press(browser, "DailyReport", "Run now")
    shown(browser, "Daily Report started as run 1.")
    assert browser.current_url.endswith("/jobs/jobs")  # the page does not change
    wait(browser, lambda b: "succeeded" in b.find_element(By.ID, "job-DailyReport").text)

    press(browser, "SyncStock", "Run now")
    shown(browser, "Sync Stock started as run 2.")
    browser.find_element(By.LINK_TEXT, "View run").click()
    shown(browser, "Why it failed")
    shown(browser, "WarehouseError: the warehouse answered 503 <b>Service Unavailable</b>")
    browser.find_element(By.XPATH, "//button[text()='Retry']").click()
    shown(browser, "Run 2 is retried as run 3.")

    browser.find_element(By.LINK_TEXT, "Overview").click()
    shown(browser, "Sync Stock failed")
    assert complaints(browser) == []


def test_a_page_follows_a_run_by_itself(browser: Chrome, link: str):
    browser.get(link)
    browser.get(f"{link.partition('/login')[0]}/jobs/SlowExport")
    browser.find_element(By.XPATH, "//button[text()='Run now']").click()
    shown(browser, "340 of 1,200")
    browser.find_element(By.LINK_TEXT, "#1").click()
    shown(browser, "Running for")
    browser.find_element(By.XPATH, "//button[text()='Cancel']").click()
    wait(browser, lambda b: b.switch_to.alert).accept()
    wait(browser, lambda b: "cancelled" in b.find_element(By.TAG_NAME, "h1").text)
    assert complaints(browser) == []


def test_the_list_of_jobs_is_searched_while_typing(browser: Chrome, link: str):
    browser.get(link)
    browser.get(f"{link.partition('/login')[0]}/jobs")
    browser.find_element(By.NAME, "q").send_keys("warehouse")
    wait(browser, lambda b: not b.find_elements(By.ID, "job-DailyReport"))
    assert browser.find_elements(By.ID, "job-SyncStock")
    wait(browser, lambda b: "q=warehouse" in b.current_url)
    assert complaints(browser) == []


@pytest.fixture
def file_jobs(_apart: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TARGCC_JOBS_PACKAGE", "file_jobs")


def test_a_file_is_chosen_in_the_form_and_a_result_is_saved_not_shown(
    file_jobs: None, browser: Chrome, link: str, tmp_path: Path  # noqa: ARG001 - before the server
):
    chosen, saved = tmp_path / "orders.html", tmp_path / "saved"
    chosen.write_text("<script>document.title = 'taken over'</script>", encoding="utf-8")
    behaviour = {"behavior": "allow", "downloadPath": str(saved)}
    browser.execute_cdp_cmd("Browser.setDownloadBehavior", behaviour)
    browser.get(link)
    browser.get(f"{browser.current_url.partition('/jobs')[0]}/jobs/jobs/ReadFile")
    browser.find_element(By.NAME, "arg-report").send_keys(str(chosen))
    browser.find_element(By.CSS_SELECTOR, "form.arguments button").click()
    shown(browser, "orders.html (46 B)")
    wait(browser, lambda b: b.find_elements(By.LINK_TEXT, "copy.html"))
    here = browser.current_url
    browser.find_element(By.LINK_TEXT, "copy.html").click()
    wait(browser, lambda _: (saved / "copy.html").exists())
    assert (saved / "copy.html").read_bytes() == chosen.read_bytes()
    assert (browser.current_url, "taken over" in browser.title) == (here, False)
    assert complaints(browser) == []


def test_the_buttons_of_a_hebrew_timeline_stand_as_its_time_runs(browser: Chrome, link: str):
    browser.get(link)
    base = browser.current_url.rstrip("/")
    browser.add_cookie({"name": "targcc_language", "value": "he"})
    browser.get(f"{base}/timeline")
    earlier, later = (
        browser.find_element(By.CSS_SELECTOR, f'.along [rel="{name}"]') for name in ("prev", "next")
    )
    assert earlier.rect["x"] < later.rect["x"]
    direction = "return getComputedStyle(document.querySelector('.along h2')).direction"
    assert browser.execute_script(direction) == "rtl"
