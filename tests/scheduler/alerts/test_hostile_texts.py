"""Texts from people and jobs stay plain text in every channel: no mention, link, markup or header, and a limited length."""

import json
import re
from datetime import UTC, datetime
from html.parser import HTMLParser

import pytest
from alert_sinks import plain
from markdown_it import MarkdownIt
from targcc_scheduler import Settings
from targcc_scheduler.core.errors import AlertError
from targcc_scheduler.features.alerts.channels import slack_body, standard_channels, teams_body
from targcc_scheduler.features.alerts.mail import mail_of
from targcc_scheduler.features.alerts.message import Notice, Section, one_line

EVIL = (
    '<!channel> <@U123> <https://evil.example|click> [click](https://evil.example) **b** &lt; "q"'
)
HEBREW = "דוח יומי"


def notice(text, **more):
    values = {
        "kind": "failure",
        "job": "Daily",
        "run_id": 7,
        "title": one_line(text),
        "facts": (("Job", text),),
        "message": text,
        "details": text,
        "url": "https://jobs.example.com/jobs/runs/7",
        "links": (("Open the run", "https://jobs.example.com/jobs/runs/7"),),
        "sections": (Section(text, ((text, "https://jobs.example.com/jobs"), (text, ""))),),
        "thread": "3f25",
        "at": datetime(2026, 6, 10, 2, 10, tzinfo=UTC),
    }
    return Notice(**{**values, **more})


def texts(value):
    """Return every text in a request body, nested values included."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from [(name, item)] if isinstance(item, str) else texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)


class Page(HTMLParser):
    """Parser that collects the elements and the text of a page."""

    def __init__(self, page):
        super().__init__()
        self.elements, self.text = [], ""
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data


async def test_a_mail_has_what_mail_programs_sort_and_thread_by(mail_server):
    settings = Settings(
        _env_file=None,
        smtp_host="127.0.0.1",
        smtp_port=mail_server.port,
        smtp_from="Jobs <jobs@example.com>",
    )
    channel = standard_channels(settings)["mail"]
    first, second = notice(EVIL), notice(f"{HEBREW} {EVIL}")
    for message in (first, second, second):
        await channel.send(message, "ops@example.com, dana@example.com")
    message, other, again = mail_server.handler.mails
    assert message["Date"].datetime == first.at
    assert message["Auto-Submitted"] == "auto-generated"
    assert re.fullmatch(r".* <alerts\.rig-jobs\.example\.com>", message["List-Id"])
    assert re.fullmatch(r"<[\w.-]+@example\.com>", message["Message-ID"])
    assert message["Message-ID"] != other["Message-ID"] == again["Message-ID"]
    assert message["References"] == "<thread.3f25.rig-jobs@example.com>"
    assert (
        message["In-Reply-To"]
        == other["In-Reply-To"]
        == other["References"]
        == message["References"]
    )
    assert message.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in message.iter_parts()] == ["text/plain", "text/html"]
    assert EVIL in plain(message)
    page = Page(other.get_body(("html",)).get_content())
    assert EVIL in page.text
    assert HEBREW in page.text
    assert {tag for tag, _ in page.elements} <= {
        *("html", "head", "meta", "title", "body", "div", "h1", "h2", "p", "a", "ul", "li"),
        *("table", "tr", "th", "td", "pre"),
    }
    assert {has["href"] for tag, has in page.elements if tag == "a"} == {
        "https://jobs.example.com/jobs/runs/7",
        "https://jobs.example.com/jobs",
    }
    own = [has for tag, has in page.elements if tag in {"h1", "p", "td", "li", "pre"} and has]
    assert [
        has
        for has in own
        if has.get("dir") != "auto" and "margin:16px 0 0" not in has.get("style", "")
    ] == []
    assert len(other.as_bytes()) < 20_000


def test_no_text_becomes_a_header_and_a_long_subject_is_cut():
    title = one_line("Daily\r\nBcc: victim@example.com\u202e" + "x" * 500)
    mail = mail_of(
        notice("x", title=title, key="a\r\nBcc: b@example.com"), "jobs@example.com", "a@example.com"
    )
    assert mail["Bcc"] is None
    assert mail["Subject"].startswith("Daily Bcc: victim@example.com<U+202E>x")
    assert mail["Subject"].endswith("x…")
    assert len(mail["Subject"]) == 150
    assert b"\nBcc:" not in mail.as_bytes()
    with pytest.raises(AlertError, match="line break"):
        mail_of(notice("x"), "jobs@example.com", "a@example.com\nBcc: victim@example.com")


def test_nothing_mentions_anybody_in_slack_or_links_elsewhere():
    body = slack_body(notice(EVIL))
    fields = list(texts(body))
    assert "&lt;!channel&gt;" in body["text"]
    marks = [tag for _, text in fields for tag in re.findall(r"<[^>]*>", text)]
    assert [mark.partition("|")[0] for mark in marks] == ["<https://jobs.example.com/jobs"]
    assert all(has.get("verbatim") for has in _dicts(body) if has.get("type") == "mrkdwn")
    assert body["blocks"][-1]["elements"][0]["url"] == "https://jobs.example.com/jobs/runs/7"


def test_teams_shows_markdown_as_it_was_written():
    card = teams_body(notice(f"{EVIL}\n# no heading\n- no list\n1. none\n> <b>"))["attachments"][0][
        "content"
    ]
    for name, text in texts(card["body"]):
        if name in {"text", "title", "value"}:
            html = MarkdownIt("commonmark", {"html": False}).render(text)
            assert not re.search(r"<(?!/?p>)[a-z]", html), html
            if "evil" in html:
                assert "[click](https://evil.example) **b**" in html
    assert card["actions"][0]["url"] == "https://jobs.example.com/jobs/runs/7"


@pytest.mark.parametrize("character", ["x", "&", "*", "ש"])
def test_no_channel_is_sent_more_than_it_takes(character):
    long = character * 40_000
    lines = tuple((long, "https://jobs.example.com/jobs") for _ in range(60))
    much = notice(long, sections=(Section("Many", lines),) * 3, details=long[:2_500])
    slack = slack_body(much)
    assert len(slack["blocks"]) <= 50
    for block in slack["blocks"]:
        limit = 150 if block["type"] == "header" else 3_000
        assert all(len(text) <= limit for _, text in texts(block.get("text", {})))
        assert all(len(field["text"]) <= 2_000 for field in block.get("fields", []))
    cut = slack["blocks"][1]["text"]["text"]
    assert cut.endswith("…")
    assert not re.search(r"&\w*…", cut)
    assert "…and " in json.dumps(slack, ensure_ascii=False)
    teams = json.dumps(teams_body(much), ensure_ascii=False).encode()
    assert len(teams) < 28_000
    assert "…and 52 more" in teams.decode()


def _dicts(value):
    if isinstance(value, dict):
        yield value
        for item in value.values():
            yield from _dicts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _dicts(item)
