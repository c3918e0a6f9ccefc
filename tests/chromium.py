"""Browser for tests of pages."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

_ARGUMENTS = ("--headless", "--no-sandbox", "--disable-gpu", "--window-size=1280,900")


@contextlib.contextmanager
def chromium(profile: Path, *, keeps_log: bool = False) -> Iterator[Chrome]:
    """Yield a headless browser with a fresh profile; with ``keeps_log`` the browser keeps the pages' console messages."""
    options = ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for argument in (*_ARGUMENTS, f"--user-data-dir={profile}"):
        options.add_argument(argument)
    if keeps_log:
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = Chrome(options=options, service=Service("/usr/bin/chromedriver"))
    try:
        yield driver
    finally:
        driver.quit()
