"""Pages in English and Hebrew: complete translations, per-person choice, and English in stored data."""

import pickle
import re
from datetime import UTC, datetime
from typing import get_args

import catalogue as texts
import pytest
import sqlalchemy as sa
from babel.messages.pofile import read_po
from targcc_scheduler.core import humanize
from targcc_scheduler.core import languages as core_languages
from targcc_scheduler.core.errors import UnknownRun
from targcc_scheduler.core.languages import (
    Localized,
    Reader,
    catalogue,
    gettext,
    languages,
    messages,
    reading,
)
from targcc_scheduler.core.states import RunState
from targcc_scheduler.core.text import harmless, isolated
from targcc_scheduler.db.columns import metadata
from targcc_scheduler.features.triage import bulk_queries, inbox
from targcc_scheduler.kernel.queries.models import RecentRun
from targcc_scheduler.web.dashboard import charts, rendering
from web_fixtures import Site, running

HEBREW = re.compile("[\u05d0-\u05ea]")
PLACEHOLDER = re.compile(r"%\(\w+\)s|%%|<[^>]*>|&\w+;")
BY_HAND = {"<bdi>", "</bdi>"}
"""Markup that a translation may add."""
NAME = "דוח יומי"
TURNED = "\u202egpj.exe"
"""Displayed as ``exe.jpg``, with reversed text after it."""


def test_no_template_says_anything_that_is_not_in_the_catalogue():
    assert texts.bare_texts() == [], texts.HOW


def test_what_is_not_marked_is_found():
    page = '<p title="Plain">Some text {{ name }}</p>{{ "Retry" if a == "b" else _("Run") }}<code>x y</code>'
    assert texts.bare_texts_of(page) == ["Retry", "Plain", "Some text \0"]


@pytest.mark.parametrize("language", languages()[1:])
@pytest.mark.slow
def test_a_language_is_complete(language):
    path = texts.LANGUAGES / f"{language}.po"
    with path.open(encoding="utf-8") as file:
        catalog = read_po(file, locale=language)
    wanted = {texts.key_of(message) for message in texts.extracted() if message.id}
    known = {texts.key_of(message): message for message in catalog if message.id}
    empty = {key for key, message in known.items() if not texts.is_translated(message)}
    wrong = (
        sorted(map(str, keys)) for keys in (wanted - known.keys(), known.keys() - wanted, empty)
    )
    missing, superfluous, untranslated = wrong
    hint = f"run `{texts.COMMAND}`, and fill in what is empty in {path.name}"
    assert (missing, superfluous, untranslated) == ([], [], []), hint
    for message in known.values():
        key = message.id
        forms = [message.string] if isinstance(message.string, str) else message.string
        parts = sorted(PLACEHOLDER.findall(key if isinstance(key, str) else key[-1]))
        *special, last = forms
        assert sorted(set(PLACEHOLDER.findall(last)) - BY_HAND) == sorted(set(parts)), key
        for form in special:  # "one run" and "two runs" are words in Hebrew
            assert set(PLACEHOLDER.findall(form)) >= set(parts) - {"%(num)s"}, key


def test_a_file_is_read_as_the_tools_of_gettext_read_it():
    path = texts.LANGUAGES / "he.po"
    with path.open(encoding="utf-8") as file:
        catalog = read_po(file)
    ours = dict(messages(path.read_text(encoding="utf-8")))
    del ours[""]
    assert ours == {
        texts.key_of(message): (
            (message.string,) if isinstance(message.string, str) else tuple(message.string)
        )
        for message in catalog
        if message.id
    }


def test_another_language_is_one_file(tmp_path, monkeypatch):
    header = 'msgid ""\nmsgstr ""\n"Plural-Forms: nplurals=2; plural=(n > 1);\\n"\n'
    entries = (
        '#, fuzzy\nmsgid "Runs"\nmsgstr "?"',
        'msgid "Jobs"\nmsgstr ""\n"Tâ"\n"ches"',
        'msgid "Queues"\nmsgstr ""',
        'msgid "%(num)s run"\nmsgid_plural "%(num)s runs"\nmsgstr[0] "%(num)s fois"\nmsgstr[1] "%(num)s fois !"',
    )
    (tmp_path / "fr.po").write_text("\n\n".join([header, *entries]), encoding="utf-8")
    monkeypatch.setattr(core_languages, "FOLDER", tmp_path)
    for function in (languages, catalogue):
        function.cache_clear()
    try:
        assert languages() == ("en", "fr")
        french = catalogue("fr")
        assert (french.direction, french.text("Jobs")) == ("ltr", "Tâches")
        assert (french.text("Runs"), french.text("Queues")) == ("Runs", "Queues")  # untranslated
        with reading(Reader(french)):
            assert [humanize.count(number, "run") for number in (0, 1, 2_000)] == [
                "0 fois",
                "1 fois",
                "2,000 fois !",
            ]
    finally:
        for function in (languages, catalogue):
            function.cache_clear()


def test_hebrew_counts_by_its_own_rules():
    now = datetime(2026, 11, 24, 12, tzinfo=UTC)
    with reading(Reader(catalogue("he"))):
        counted = [humanize.count(number, "run") for number in (1, 2, 1_204)]
        assert counted == ["ריצה אחת", "שתי ריצות", "1,204 ריצות"]
        assert humanize.duration(7_500) == "2 שע׳ 5 דק׳"  # noqa: RUF001 - geresh
        day = now.replace(month=3)
        assert humanize.clock(day, now, humanize.ZoneInfo("UTC")) == "24 ב\u2068מרץ\u2069 12:00"
    assert humanize.count(2, "run") == "2 runs"


def test_each_word_of_the_code_has_one_for_people():
    assert set(rendering.ACTIONS) == set(bulk_queries.ACTIONS)
    assert set(rendering.STANDINGS) == set(get_args(inbox.Standing))
    assert set(humanize.STATE_WORDS) == set(humanize.STATE_HELP) == set(RunState)


def test_texts_of_people_keep_their_direction_to_themselves():
    assert isolated("Daily Report", "ltr") == "Daily Report"
    assert isolated(NAME, "ltr") == isolated(NAME, "rtl") == f"\u2068{NAME}\u2069"
    assert isolated("0 2 * * *", "rtl") == "\u20680 2 * * *\u2069"
    assert isolated("02:00", "rtl") == "02:00"
    assert harmless(TURNED) == "<U+202E>gpj.exe"
    assert harmless("a\u2069b\u2066") == "a<U+2069>b<U+2066>"  # would end the surrounding isolation
    assert harmless(f"\u2068{NAME}\u2069") == f"\u2068{NAME}\u2069"
    with reading(Reader(catalogue("en"))):
        text = gettext("Queue %(name)s is paused", name=f"{NAME}{TURNED}")
    assert text == f"Queue \u2068{NAME}<U+202E>gpj.exe\u2069 is paused"


def test_a_chart_that_is_kept_is_drawn_again_for_another_language_and_state():
    at = datetime(2026, 11, 30, tzinfo=UTC)
    failed, succeeded = (
        RecentRun(1, "Report", state, at, at, at) for state in (RunState.FAILED, RunState.SUCCEEDED)
    )
    english = charts.spark([failed])
    with reading(Reader(catalogue("he"))):
        hebrew = charts.spark([failed])
    assert "1 failed" in english
    assert hebrew != english
    assert charts.spark([failed]) == english
    assert "1 succeeded" in charts.spark([succeeded])


def test_the_trend_of_a_failure_is_drawn_in_the_language_of_its_reader():
    english = charts.trend_bars((0, 3, 1))
    assert 'aria-label="0, 3, 1 in the last 3 days, the last number today"' in english
    bars = re.findall(r'<rect x="(\d+)" width="6" y="(\d+)" height="(\d+)" class="(.*?)"', english)
    assert bars == [
        ("0", "19", "1", "k-slot"),
        ("8", "1", "19", "k-failed"),
        ("16", "13", "7", "k-failed"),
    ]
    with reading(Reader(catalogue("he"))):
        assert "הימים האחרונים" in charts.trend_bars((0, 3, 1))
    assert charts.trend_bars((0, 3, 1)) == english
    assert 'y="19" height="1" class="k-slot"' in charts.trend_bars((0, 0))


async def test_everybody_reads_in_their_language(site: Site, settings):
    dana = await site.user("operator", "dana")

    async def spoken(**headers: str) -> tuple[str, str]:
        page = await dana.page("/jobs/jobs", headers=headers)
        match = re.search(r'<html lang="(\w+)" dir="(\w+)">', page)
        assert match is not None
        assert (">משימות<" in page) == (match[1] == "he")
        return match[1], match[2]

    assert await spoken() == ("en", "ltr")
    preferences = {"Accept-Language": "fr-FR, he-IL;q=0.9, en;q=0.8"}
    assert await spoken(**preferences) == ("he", "rtl")
    login = await (await site.stranger()).page("/jobs/login", headers=preferences)
    assert 'lang="he"' in login
    answer = await dana.send("/jobs/language", language="en", next="/jobs/jobs")
    assert answer.headers["Location"] == "/jobs/jobs"
    assert await spoken(**preferences) == ("en", "ltr")  # a person's own choice wins
    assert (await dana.send("/jobs/language", language="xx")).status_code == 404
    afar = await dana.client.post(
        "/jobs/language", data={"language": "he"}, headers={"Origin": "https://evil.example"}
    )
    assert afar.status_code == 403
    async with running(settings.model_copy(update={"language": "he"}), work=False) as hebrew_site:
        assert 'lang="he"' in await (await hebrew_site.stranger()).page("/jobs/login")


async def test_what_is_stored_and_what_programs_read_stays_english(site: Site):
    """A person presses buttons on Hebrew pages."""
    headers = {"Accept-Language": "he"}
    dana, run_id = await site.user("admin", "dana"), await site.add_run(
        "SyncStock", "failed", Message="WarehouseError: 503"
    )
    dana.client.headers.update(headers)
    cause = (await site.change(_causes))[0]
    pressed = (
        ("/jobs/jobs/DailyReport/pause", {"until": "2099-01-01T00:00"}),
        (f"/jobs/inbox/{cause}/acknowledge", {}),
        (f"/jobs/runs/{run_id}/retry", {}),
        ("/jobs/bulk", {"do": "cancel", "q": "job:SyncStock"}),
        ("/jobs/queues/default/pause", {}),
        ("/jobs/account/sessions/revoke", {}),
    )
    page = await dana.page("/jobs/jobs/DailyReport")
    assert HEBREW.search(page)
    for path, form in pressed:
        answer = await dana.send(path, **form)
        assert answer.status_code == 303, answer.text
    kept = await site.change(_everything)
    assert [text for text in kept if HEBREW.search(text)] == []
    program = await site.program()
    for path in ("/api/jobs/DailyReport/why", "/api/overview"):
        answer = await program.get(path, headers=headers)
        assert not HEBREW.search(answer.text)


async def _causes(db):
    table = metadata.tables["c_JobFailure"]
    return list(await db.scalars(sa.select(table.c.Cause)))


async def _everything(db):
    values = []
    for table in metadata.tables.values():
        try:
            rows = (await db.execute(sa.select(table))).all()
        except sa.exc.OperationalError:  # tables of PostgreSQL alone
            continue
        values += [value for row in rows for value in row if isinstance(value, str)]
    return values


async def test_names_in_hebrew_turn_nothing_around(site: Site):
    job = f"{NAME}{TURNED}"
    run_id = await site.add_run(job, "failed", Message=f"{TURNED} {NAME}", Queue=job)
    visitor = await site.user("operator")
    for path in ("", "/runs", f"/runs/{run_id}", "/inbox", "/audit"):
        for language in ("en", "he"):
            page = await visitor.page(f"/jobs{path}", headers={"Accept-Language": language})
            assert "\u202e" not in page
            bare = [line for line in page.splitlines() if NAME in line and not _is_apart(line)]
            assert bare == [], (path, language)


def _is_apart(line: str) -> bool:
    """Return whether every user-written text in a line is isolated for text direction."""
    text = re.sub(r"<bdi[^>]*>[^<]*</bdi>", "", line)
    text = re.sub(r'<(\w+)[^>]*\bdir="auto"[^>]*>[^<]*</\1>', "", text)
    text = re.sub("\u2068[^\u2069]*\u2069", "", text)
    text = re.sub(r'(?:value|href|title|action|hx-\w+|id)="[^"]*"', "", text)
    return NAME not in text


async def test_times_are_in_the_zone_of_who_looks(site: Site):
    """The project's zone is Berlin, the job's zone is London, and the browser is in New York."""
    visitor = await site.user("viewer")
    at = datetime(2026, 1, 15, 12, tzinfo=UTC)
    run_id = await site.add_run("DailyReport", "succeeded", ScheduledFor=at, StartedAt=at)
    home = await visitor.page(f"/jobs/runs/{run_id}")
    assert "Times are in <bdi>Europe/Berlin</bdi>." in home
    visitor.client.cookies.set("targcc_zone", "America/New_York")
    page = await visitor.page(f"/jobs/runs/{run_id}")
    assert "Times are in your zone, <bdi>America/New_York</bdi>" in page
    assert "jobs run by <bdi>Europe/Berlin</bdi>" in page
    assert "Thu 15 Jan 2026 07:00:00 -05:00 (12:00:00 UTC)" in page
    assert "in Europe/London</span>" in page  # the slot in the job's own zone
    visitor.client.cookies.set("targcc_zone", "../../etc/passwd")
    assert "Times are in <bdi>Europe/Berlin</bdi>." in await visitor.page("/jobs")


def test_the_text_of_an_error_is_in_the_language_of_its_reader():
    error = UnknownRun(Localized("there is no run %(run)s", run=7))
    with reading(Reader(catalogue("he"))):
        assert str(error) == f"{error}" == "אין הרצה 7"
        assert error.args[0] == "there is no run 7"
    assert str(error) == str(pickle.loads(pickle.dumps(error))) == "there is no run 7"
    nested = Localized("run %(run)s is %(state)s: there is nothing to cancel", run=7, state=Localized("succeeded"))  # fmt: skip
    with reading(Reader(catalogue("he"))):
        assert "succeeded" not in str(nested)
