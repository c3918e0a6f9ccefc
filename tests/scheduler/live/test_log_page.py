"""Log on the page of a run."""

import re
import threading
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from live_rig import write
from targcc_scheduler.kernel.queries.models import LogLine
from targcc_scheduler.web.dashboard import run_log
from targcc_scheduler.web.dashboard.run_log import lines_html, message_html
from web_fixtures import Site

LINK = '<a href="{0}" rel="noopener noreferrer nofollow" target="_blank">{0}</a>'
SHOWN = {
    "<b>&": "&lt;b&gt;&amp;",
    "\x1b[31mred\x1b[0m plain": '<span class="a-f1">red</span> plain',
    "\x1b[1;92;44mloud\x1b[22;39m quiet": '<span class="a-bold a-f10 a-b4">loud</span><span class="a-b4"> quiet</span>',
    "\x1b[38;5;196mcube\x1b[m": '<span class="a-f9">cube</span>',
    "\x1b[38;2;0;1;2mtrue": '<span class="a-f0">true</span>',
    "\x1b[48;5;255;3mgrey": '<span class="a-b7 a-italic">grey</span>',
    "\x1b[2K\x1b[1Aup\x1b]0;title\x07": "up",
    "\x1b[38m\x1b[38;5m\x1b[;mnothing": "nothing",
    "\x1b[31": "\u241b[31",
    "\x1b[31m<i>\x1b[0m": '<span class="a-f1">&lt;i&gt;</span>',
    "see https://a.example/x?y=1&z=2.": "see "
    + LINK.format("https://a.example/x?y=1&amp;z=2")
    + ".",
    "(http://a.example/b_(c))": "(" + LINK.format("http://a.example/b_(c)") + ")",
    "\x1b[4mhttp://a.example\x1b[0m/x": '<span class="a-under">'
    + LINK.format("http://a.example")
    + "</span>/x",
    'javascript://x "http://a.example/"onclick=1"': "javascript://x &#34;"
    + LINK.format("http://a.example/")
    + "&#34;onclick=1&#34;",
    "http://": "http://",
    "http://a.example/\u202egpj": LINK.format("http://a.example/&lt;U+202E&gt;gpj"),
}


def test_colours_become_classes_addresses_links_and_all_else_is_text():
    assert {text: str(message_html(text)) for text in SHOWN} == SHOWN
    line = LogLine(7, 1, datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "warning", "slow")
    assert str(lines_html([line], ZoneInfo("Europe/Berlin"))) == (
        '<li class="l-warning" data-key="7"><time datetime="2026-01-02T03:04:05+00:00">04:04:05</time>'
        " <b>warning</b> <bdi>slow</bdi></li>"
    )


async def test_a_page_shows_the_end_of_a_log_and_its_earlier_parts_when_asked(site: Site):
    run_id = await site.add_run("DailyReport", "running")
    await write(site, run_id, *(f"line {number}" for number in range(run_log.MOST_LINES + 3)))
    viewer = await site.user("viewer")
    page = await viewer.page(f"/jobs/runs/{run_id}")
    keys = [int(key) for key in re.findall(r'data-key="(\d+)"', page)]
    assert len(keys) == run_log.MOST_LINES
    assert "Showing the last lines" in page
    earlier = await viewer.page(f"/jobs/runs/{run_id}/lines", params={"before": keys[0]})
    assert re.findall(r"<bdi>(.*?)</bdi>", earlier) == ["line 0", "line 1", "line 2"]
    after = await viewer.page(f"/jobs/runs/{run_id}/lines", params={"after": keys[-2]})
    assert re.findall(r'data-key="(\d+)"', after) == [str(keys[-1])]
    whole = await viewer.get(f"/jobs/runs/{run_id}/log.txt")
    assert len(whole.text.splitlines()) == run_log.MOST_LINES + 3
    assert "attachment" in whole.headers["content-disposition"]
    refreshed = await viewer.page(f"/jobs/runs/{run_id}", headers={"HX-Request": "true"})
    assert "data-key" not in refreshed  # the refreshed part excludes the log


async def test_without_scripts_the_page_is_loaded_again(site: Site):
    running, over = [await site.add_run("DailyReport", state) for state in ("running", "succeeded")]
    viewer = await site.user("viewer")
    page = await viewer.page(f"/jobs/runs/{running}")
    assert f'class="button no-js" href="/jobs/runs/{running}?every=5#log-title"' in page
    assert (await viewer.get(f"/jobs/runs/{running}?every=5")).headers["refresh"] == "5"
    assert "refresh" not in (await viewer.get(f"/jobs/runs/{over}?every=5")).headers


async def test_a_page_shows_a_line_whose_colour_has_thousands_of_digits(site: Site):
    run_id = await site.add_run("DailyReport", "running")
    lines = [
        f"\x1b[{'1' * 5_000}mloud\x1b[0m",
        "http://a.example/" + ")" * 10_000,
        "\x1b[" + "1;" * 5_000 + "mbold",
    ]
    await write(site, run_id, *lines)
    viewer = await site.user("viewer")
    for path in (f"/jobs/runs/{run_id}", f"/jobs/runs/{run_id}/lines"):
        page = await viewer.page(path)
        assert len(re.findall(r'data-key="\d+"', page)) == len(lines)
        assert ">loud<" in page


async def test_lines_become_html_on_another_thread_than_the_loops(site: Site, monkeypatch):
    """The event loop also sends the node's heartbeat."""
    threads = set()
    monkeypatch.setattr(
        run_log, "lines_html", lambda *_: threads.add(threading.current_thread()) or ""
    )
    run_id = await site.add_run("DailyReport", "running")
    await write(site, run_id, "a line")
    viewer = await site.user("viewer")
    await viewer.page(f"/jobs/runs/{run_id}")
    await viewer.page(f"/jobs/runs/{run_id}/lines")
    assert threads
    assert threading.current_thread() not in threads
