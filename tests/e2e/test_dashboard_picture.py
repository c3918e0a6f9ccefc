"""Screenshot of the example project's dashboard for the README.

`TARGCC_UPDATE_PICTURES=1 pytest -n0 -m soak tests/e2e/test_dashboard_picture.py` writes docs/dashboard.png and docs/dashboard-phone.png.
"""

import base64
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import acme_history
import pytest
from rendered_projects import served
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait
from targcc_gen.demo import DemoProject, run_targcc
from targcc_gen.render import render_project
from targcc_gen.spec import load_spec
from targcc_gen.sync import apply, make_plan

pytestmark = [pytest.mark.e2e, pytest.mark.soak]

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "garden tools of acme"
PHONE = (380, 780)
PICTURES = (((1280, 800), "dashboard.png"), (PHONE, "dashboard-phone.png"))
TEXTS = (
    "Invoice Batch failed",
    "LedgerError: the ledger answered 503",
    "Running now",
    "Recalculate Prices",
    "Coming next",
    "Daily Sales Report",
    "Recent activity",
    "All jobs",
    "Monthly Clean-up",
)


@dataclass(frozen=True)
class Shop:
    """The served example project with its history."""

    base: str
    project: DemoProject

    @property
    def database(self) -> Path:
        return self.project.root / "acme_jobs.db"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    root = tmp_path_factory.mktemp("picture") / "acme-jobs"
    apply(make_plan(render_project(load_spec(ROOT / "examples" / "acme" / "targcc.yaml")), root))
    project = DemoProject(root, "acme_jobs", Path(sys.executable))
    run_targcc(project, "migrate")
    add = project.command("user", "add", "dana", "--role", "admin", "--password-stdin")
    subprocess.run(add, input=PASSWORD, text=True, cwd=root, env=project.environment(), check=True)
    acme_history.write(root / "acme_jobs.db", datetime.now(UTC))
    acme_history.write_failure(root / "acme_jobs.db", datetime.now(UTC))
    with served(project) as (port, _):
        yield Shop(f"http://127.0.0.1:{port}/jobs", project)


@pytest.fixture(scope="module")
def browser(processes: None, shop: Shop) -> Iterator[webdriver.Chrome]:  # noqa: ARG001 - ring 2
    """A browser with dana signed in."""
    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--hide-scrollbars", "--lang=en-GB"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    with webdriver.Chrome(options, service) as chrome:
        chrome.get(f"{shop.base}/login")
        chrome.find_element(By.ID, "name").send_keys("dana")
        chrome.find_element(By.ID, "password").send_keys(PASSWORD)
        chrome.find_element(By.CSS_SELECTOR, "form button.primary").click()
        WebDriverWait(chrome, 20).until(lambda page: page.find_elements(By.ID, "banner"))
        yield chrome


def show(browser: webdriver.Chrome, size: tuple[int, int], address: str) -> None:
    width, height = size
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.get(address)
    WebDriverWait(browser, 20).until(lambda page: page.find_elements(By.CSS_SELECTOR, "h1"))


def page_width(browser: webdriver.Chrome) -> int:
    return int(browser.execute_script("return document.documentElement.scrollWidth"))


def keep(browser: webdriver.Chrome, name: str) -> None:
    """Write the picture into docs if pictures are to be updated."""
    if "TARGCC_UPDATE_PICTURES" in os.environ:
        shot = browser.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})
        (ROOT / "docs" / name).write_bytes(base64.b64decode(shot["data"]))


def test_the_first_page_tells_all_at_a_glance(browser: webdriver.Chrome, shop: Shop):
    acme_history.write_present(shop.database, datetime.now(UTC))
    browser.get_log("browser")

    for size, picture in PICTURES:
        show(browser, size, shop.base)
        keep(browser, picture)

        page = browser.find_element(By.TAG_NAME, "body").text
        assert [text for text in TEXTS if text not in page] == [], picture
        assert browser.get_log("browser") == [], picture
        assert page_width(browser) <= size[0], picture
