"""Sign in at a host in Chromium, then read pages and run a job: each ready-made ``identify=``, and a session for a token."""

import asyncio
import contextlib
import re
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import uvicorn
from chromium import chromium
from hosting_rig import make_django_users, until
from login_hosts import HOSTS, bearer_only
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait
from targcc_scheduler import Scheduler

pytestmark = [
    pytest.mark.usefixtures("processes"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of a2wsgi and Litestar
]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with chromium(tmp_path_factory.mktemp("profile"), keeps_log=True) as driver:
        yield driver


@contextlib.contextmanager
def served(app: Any) -> Iterator[str]:
    """Yield the address of an app that a thread serves."""
    config = uvicorn.Config(
        app, port=0, log_config=None, access_log=False, timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()

    async def started() -> bool:
        assert thread.is_alive()
        return server.started

    try:
        asyncio.run(until(started))
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(60)


def wait(browser: Chrome, condition: Callable[[Chrome], Any]) -> Any:
    return WebDriverWait(browser, 30, poll_frequency=0.05).until(condition)


def body(browser: Chrome) -> str:
    return browser.find_element(By.TAG_NAME, "body").text


def sign_in(browser: Chrome, name: str) -> None:
    browser.find_element(By.NAME, "name").send_keys(name)
    browser.find_element(By.XPATH, "//button[text()='Sign in']").click()


def run_a_job(browser: Chrome, address: str) -> None:
    browser.get(f"{address}/jobs/jobs/DailyReport")
    browser.find_element(By.XPATH, "//button[text()='Run now']").click()
    # another run may have begun: one of the jobs has a slot every quarter of an hour
    started = wait(browser, lambda b: re.search(r"started as run (\d+)", body(b)))

    def is_done(browser: Chrome) -> bool:  # a page refreshes itself every five seconds
        browser.get(f"{address}/jobs/runs/{started[1]}")
        return "succeeded" in browser.find_element(By.TAG_NAME, "h1").text

    wait(browser, is_done)


@pytest.mark.parametrize("name", HOSTS)
def test_who_signs_in_at_the_host_uses_the_pages(name, browser, settings):
    if name == "django":
        make_django_users()
    with served(HOSTS[name](Scheduler(settings))) as address:
        browser.get(f"{address}/signin")
        browser.delete_all_cookies()
        browser.get(f"{address}/jobs/runs")
        wait(browser, lambda b: b.current_url.startswith(f"{address}/signin?next="))
        sign_in(browser, "otto")
        wait(browser, lambda b: b.current_url == f"{address}/jobs")
        header = browser.find_element(By.CSS_SELECTOR, "header.bar").text
        assert ("otto operator" in header, "Sign out" in header) == (True, False)
        run_a_job(browser, address)
        browser.get(f"{address}/signin")
        browser.delete_all_cookies()
        sign_in(browser, "vera")
        wait(browser, lambda b: b.current_url == f"{address}/jobs" and "Not allowed" in body(b))
        messages = [entry["message"] for entry in browser.get_log("browser")]
        assert [text for text in messages if "Content Security Policy" in text] == []


def test_a_token_is_exchanged_for_a_session_of_the_pages(browser, settings):
    with served(bearer_only(Scheduler(settings))) as address:
        browser.get(f"{address}/signin")
        browser.delete_all_cookies()
        browser.get(f"{address}/jobs/jobs")
        wait(browser, lambda b: "/signin?next=" in b.current_url)
        sign_in(browser, "vera")
        wait(browser, lambda b: "You have no role" in body(b))
        browser.find_element(By.NAME, "name").clear()
        sign_in(browser, "otto")
        wait(browser, lambda b: b.current_url == f"{address}/jobs/jobs")
        cookies = browser.execute_cdp_cmd("Network.getCookies", {"urls": [f"{address}/jobs"]})
        [cookie] = [item for item in cookies["cookies"] if item["name"].startswith("targcc_page")]
        assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Lax", "/jobs")
        assert cookie["name"] not in browser.execute_script("return document.cookie")
        run_a_job(browser, address)
        browser.find_element(By.XPATH, "//button[text()='Sign out']").click()
        wait(browser, lambda b: b.current_url == f"{address}/signin")
        browser.get(f"{address}/jobs/jobs")
        wait(browser, lambda b: "/signin?next=" in b.current_url)
