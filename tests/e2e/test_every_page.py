"""Every page of the router in Chromium: both languages, both themes, desktop and phone.

axe reports nothing, nothing is wider than the screen, and Hebrew pages have no English text except texts of users.
`TARGCC_UPDATE_PICTURES=1 uv run --with pillow pytest -n 0 -m soak tests/e2e/test_every_page.py` updates the pictures in docs/pictures.
"""

import base64
import importlib.resources
import io
import json
import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from page_routes import PICTURES, shown_pictures
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait
from shop_pages import NOW, ZONE, Shop, make_hostile, shop

pytestmark = [pytest.mark.e2e, pytest.mark.soak]

DESK, PHONE = 1280, 380
AXE = (importlib.resources.files("axe_playwright_python") / "axe.min.js").read_text("utf-8")
RULES = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"],
    "resultTypes": ["violations"],
}
RUN_AXE = "const done = arguments[1]; axe.run(document, arguments[0]).then(done)"
UNFOLD = "for (const one of document.querySelectorAll('details')) one.open = true"
ENGLISH_LEFT = """
const apart = "bdi, code, pre, kbd, [lang=en], [dir=auto], [dir=ltr], option, textarea, svg, script, style";
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), found = [];
for (let node = walker.nextNode(); node; node = walker.nextNode()) {
  const text = node.data.replace(/\\u2068[^\\u2069]*\\u2069/g, "").replace(new RegExp(arguments[0], "g"), "");
  if (/[A-Za-z]{2}/.test(text) && !node.parentElement.closest(apart)) found.push(text.trim().slice(0, 80));
}
return found;
"""
SAME_IN_HEBREW = r"\b(API|CPU|CSV|GET|JSON|MiB|REST|Slack|Teams|UTC|cron|c_Job|c_LoggedJob|misfire|openapi\.json|overlap|webhooks?)\b"
"""Names written in Latin letters in Hebrew."""
LOOKS = {
    "en": ((DESK, "light"), (PHONE, "dark")),
    "he": ((PHONE, "light"),),
}
"""Combinations that axe checks, by language: both widths, both themes."""
LINES_IN_CARDS = """
const cells = [...document.querySelectorAll(".cards td")];
return cells.filter(one => parseFloat(getComputedStyle(one).borderTopWidth)).length;
"""
"""Count the cells with a line above them in tables shown as cards."""
CURRENT_PLACE = """
const places = [...document.querySelectorAll(".bar nav [aria-current]")].map(place => place.getBoundingClientRect());
return places.length === 1 && places[0].left >= 0 && places[0].right <= innerWidth && places[0].width > 0;
"""
STAND_STILL = f"Date.now = () => {int(NOW.timestamp() * 1000)}"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with shop(tmp_path_factory.mktemp("pages") / "acme-jobs") as made:
        yield made


@pytest.fixture(scope="module")
def browser(processes: None, site: Shop) -> Iterator[webdriver.Chrome]:  # noqa: ARG001 - ring 2
    """A browser with dana signed in."""
    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--hide-scrollbars", "--lang=en-GB"):
        options.add_argument(argument)
    with webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver"))) as chrome:
        chrome.execute_cdp_cmd("Emulation.setTimezoneOverride", {"timezoneId": ZONE})
        chrome.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": STAND_STILL})
        chrome.get(f"{site.base}/login")
        chrome.add_cookie(site.cookie)
        yield chrome


def speak(browser: webdriver.Chrome, language: str) -> None:
    browser.add_cookie({"name": "targcc_language", "value": language})


def look(browser: webdriver.Chrome, width: int, theme: str, height: int = 900) -> None:
    """Set the screen width in CSS pixels, and the theme."""
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    feature = {"name": "prefers-color-scheme", "value": theme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})


def wait(browser: webdriver.Chrome, condition: Any) -> Any:
    return WebDriverWait(browser, 60, poll_frequency=0.05).until(condition)


def test_pictures_of_every_page(browser: webdriver.Chrome, site: Shop):
    """Update the pictures of docs/dashboard.md on request."""
    shots = [(name, DESK, "light", "en") for name in site.addresses() if name in shown_pictures()]
    shots += [("overview", PHONE, "dark", "en"), ("overview", DESK, "light", "he")]
    shots += [("jobs-name", PHONE, "light", "he"), ("runs-run_id", DESK, "dark", "en")]
    if "TARGCC_UPDATE_PICTURES" not in os.environ:
        shots = shots[-1:]
    for name, width, theme, language in shots:
        speak(browser, language)
        look(browser, width, theme, 800)
        browser.get(site.addresses()[name])
        wait(browser, lambda page: page.find_elements(By.CSS_SELECTOR, "h1, form"))
        shot = browser.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})["data"]
        ending = f"-{width}-{theme}-{language}".removesuffix("-1280-light-en")
        if "TARGCC_UPDATE_PICTURES" in os.environ:
            _keep(f"{name}{ending}.png", base64.b64decode(shot))


def _keep(name: str, shot: bytes) -> None:
    """Write a picture with 64 colours: enough for pages, at a third of the bytes."""
    from PIL import Image  # type: ignore[import-not-found]  # only to make them anew

    PICTURES.mkdir(exist_ok=True)
    picture = Image.open(io.BytesIO(shot)).convert("RGB")
    picture.quantize(64, dither=Image.Dither.NONE).save(PICTURES / name, optimize=True)


def test_every_page_is_for_everybody(browser: webdriver.Chrome, site: Shop):
    make_hostile(site)
    wrong: list[tuple[Any, ...]] = []
    for language in ("en", "he"):
        speak(browser, language)
        for name, address in site.addresses().items():
            look(browser, DESK, "light")
            browser.get(address)
            browser.execute_script(UNFOLD)
            browser.execute_script(AXE)
            assert browser.execute_script("return document.documentElement.lang") == language
            if language == "he":
                left = browser.execute_script(ENGLISH_LEFT, SAME_IN_HEBREW)
                wrong += [(name, "is English, or has no <bdi>", text) for text in left]
            for width in (DESK, PHONE):
                look(browser, width, "light")
                needs = browser.execute_script("return document.documentElement.scrollWidth")
                if needs > width:
                    wrong.append((name, language, width, f"is {needs} pixels wide"))
            if name not in {"login", "problem"} and not browser.execute_script(CURRENT_PLACE):
                wrong.append((name, language, PHONE, "does not show the current place"))
            if lines := browser.execute_script(LINES_IN_CARDS):
                wrong.append((name, language, PHONE, f"has {lines} lines through cards"))
            for width, theme in LOOKS[language]:
                look(browser, width, theme)
                wrong += [
                    (name, language, width, theme, *violation) for violation in _violations(browser)
                ]
    assert wrong == [], json.dumps(wrong, indent=1, ensure_ascii=False)


def _violations(browser: webdriver.Chrome) -> list[tuple[str, list[str]]]:
    violations = browser.execute_async_script(RUN_AXE, RULES)["violations"]
    return [
        (violation["id"], [node["html"][:200] for node in violation["nodes"][:3]])
        for violation in violations
    ]


def test_a_page_is_used_with_keys_alone(browser: webdriver.Chrome, site: Shop):
    speak(browser, "en")
    look(browser, DESK, "light")
    browser.get(site.base)
    press = browser.switch_to.active_element
    press.send_keys(Keys.TAB)
    assert browser.switch_to.active_element.text == "Skip to content"
    browser.switch_to.active_element.send_keys(Keys.ENTER)
    assert browser.switch_to.active_element.get_attribute("id") == "main"
    seen = []
    for _ in range(30):
        browser.switch_to.active_element.send_keys(Keys.TAB)
        seen.append(browser.execute_script(FOCUSED))
    assert [element for element in seen if not element["ring"]] == []
    places = [element["place"] for element in seen if element["place"] is not None]
    assert places == sorted(places), "the order of the keys is not the order of the page"
    browser.find_element(By.TAG_NAME, "body").send_keys("?")
    assert browser.find_element(By.ID, "help").is_displayed()
    browser.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert not browser.find_element(By.ID, "help").is_displayed()
    browser.find_element(By.TAG_NAME, "body").send_keys("gr")
    wait(browser, lambda page: page.current_url.endswith("/runs"))
    browser.find_element(By.TAG_NAME, "body").send_keys("/")
    assert browser.switch_to.active_element.get_attribute("name") == "q"


FOCUSED = """
const one = document.activeElement, style = getComputedStyle(one);
const all = [...document.querySelectorAll("*")];
return {
  place: one === document.body ? null : all.indexOf(one),
  ring: one === document.body || (style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2),
  what: one.outerHTML.slice(0, 100),
};
"""


def test_a_search_is_completed_kept_and_taken_apart(browser: webdriver.Chrome, site: Shop):
    speak(browser, "en")
    look(browser, DESK, "light")
    browser.get(f"{site.base}/runs")
    box = browser.find_element(By.NAME, "q")
    box.send_keys("state:failed job:Inv")
    offered = "return [...document.getElementById('search-words').options].map(one => one.value)"
    wait(browser, lambda page: "state:failed job:InvoiceBatch" in page.execute_script(offered))
    box.send_keys("oiceBatch", Keys.ENTER)
    wait(browser, lambda page: len(page.find_elements(By.CSS_SELECTOR, ".chips .chip")) == 2)
    browser.find_element(By.CSS_SELECTOR, ".chips details summary").click()
    browser.find_element(By.CSS_SELECTOR, ".chips input[name=name]").send_keys("חשבוניות")
    browser.find_element(By.CSS_SELECTOR, ".chips details button").click()
    wait(browser, lambda page: page.find_elements(By.CSS_SELECTOR, ".views .chip[aria-current]"))
    browser.get(f"{site.base}/runs")
    browser.find_element(By.LINK_TEXT, "חשבוניות").click()
    first = wait(browser, lambda page: page.find_elements(By.CSS_SELECTOR, ".chips ul .chip"))[0]
    first.click()
    wait(browser, lambda page: len(page.find_elements(By.CSS_SELECTOR, ".chips ul .chip")) == 1)
    assert browser.find_element(By.NAME, "q").get_attribute("value") == "job:InvoiceBatch"


def test_times_follow_the_browser(browser: webdriver.Chrome, site: Shop):
    speak(browser, "en")
    browser.execute_cdp_cmd("Emulation.setTimezoneOverride", {"timezoneId": "America/New_York"})
    browser.get(f"{site.base}/jobs/DailySalesReport")
    zone = "Times are in your zone, America/New_York; jobs run by Asia/Jerusalem."
    script = "return document.querySelector(arguments[0]).textContent"
    wait(browser, lambda page: zone in page.execute_script(script, "#zone"))
    wait(browser, lambda page: "22:00" in page.execute_script(script, ".slots"))  # 02:00 in London
    assert "02:00 in Europe/London" in browser.execute_script(script, ".slots")
    browser.delete_cookie("targcc_zone")
    browser.execute_cdp_cmd("Emulation.setTimezoneOverride", {"timezoneId": ZONE})
