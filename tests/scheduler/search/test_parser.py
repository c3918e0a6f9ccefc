"""A parsed search can be written again with the same meaning; an invalid search is refused with the place of the error."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from targcc_scheduler.core.search_language import (
    KEYS,
    Duration,
    Pattern,
    Search,
    SearchError,
    Term,
    joined,
    only,
    parse,
    write,
)
from targcc_scheduler.core.states import RunState

ZONE = ZoneInfo("Asia/Jerusalem")
NOW = datetime(2026, 11, 25, 8, tzinfo=UTC)  # a Wednesday, 10:00 in Jerusalem


def read(text: str) -> Search:
    return parse(text, now=NOW, zone=ZONE)


TEXTS = st.text(min_size=1, max_size=12).filter(str.strip)
PATTERNS = TEXTS.map(Pattern.exactly) | st.from_regex(r"[a-z*?-]{1,8}", fullmatch=True).filter(
    lambda text: text != "not" and not text.startswith("-")
).map(Pattern)
LENGTHS = st.integers(1, 10**9).map(lambda number: timedelta(milliseconds=number))
VALUES = {
    "state": st.sampled_from(RunState),
    "since": st.integers(0, 2**31).map(lambda number: datetime.fromtimestamp(number, UTC)),
    "took": st.builds(Duration, st.sampled_from([">", ">=", "<", "<="]), LENGTHS),
    "run": st.integers(0, 10**17),
    "batch": st.integers(0, 10**17),
    "is": st.just(Pattern("open")),
    "arg": TEXTS.map(Pattern.exactly),
} | dict.fromkeys(("job", "queue", "node", "by", "cause", ""), PATTERNS)
VALUES["until"] = VALUES["since"]


@st.composite
def terms(draw: st.DrawFn) -> Term:
    key = draw(st.sampled_from(["", *KEYS]))
    most = 1 if key in {"", "since", "until", "took"} else 3
    values = draw(st.lists(VALUES[key], min_size=1, max_size=most))
    name = draw(st.from_regex(r"[a-z_]{1,5}(\.[a-z]{1,3})?", fullmatch=True)) if key == "arg" else ""  # fmt: skip
    return Term(key, tuple(values), name, draw(st.booleans()))


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(st.lists(terms(), max_size=5).map(lambda found: Search(tuple(found))))
def test_what_is_written_is_read_as_the_same(search: Search):
    assert read(str(search)) == search
    for term in read(str(search)).terms:
        assert read(str(search)[term.at : term.end]).terms == (term,)


PIECES = st.sampled_from(
    ["job:", "state:", "arg.", "not ", "-", '"', "\\", ",", ":", "*", "took:>", "5m", "failed", " "]
)


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(st.lists(PIECES | st.text(max_size=3), max_size=8).map("".join))
def test_whatever_is_typed_is_read_or_refused_with_its_place(text: str):
    error = refused(text)
    if error is None:
        search = read(text)
        assert read(str(search)) == search
    else:
        assert 0 <= error.at <= len(text)
        assert error.reason
        assert len(error.frame.splitlines()) == 2


def refused(text: str) -> SearchError | None:
    try:
        read(text)
    except SearchError as error:
        return error
    return None


def test_the_search_of_the_manual():
    search = read(
        'job:Daily* state:failed,missed since:yesterday until:yesterday -queue:slow arg.customer:42 "timeout" not node:web-2 took:>5m'
    )
    day = datetime(2026, 11, 24, tzinfo=ZONE)
    assert [(term.key, term.values, term.negated) for term in search.terms] == [
        ("job", (Pattern("Daily*"),), False),
        ("state", (RunState.FAILED, RunState.MISSED), False),
        ("since", (day,), False),
        ("until", (day + timedelta(days=1),), False),
        ("queue", (Pattern("slow"),), True),
        ("arg", (Pattern("42"),), False),
        ("", (Pattern("timeout"),), False),
        ("node", (Pattern("web-2"),), True),
        ("took", (Duration(">", timedelta(minutes=5)),), False),
    ]
    assert [str(read(f"since:{text}")).partition(":")[2] for text in ("2h", "monday", "2026-11-01T06:30")] == [
        "2026-11-25T06:00:00+00:00", "2026-11-23T00:00:00+02:00", "2026-11-01T06:30:00+02:00",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "at", "said"),
    [
        ("sate:failed", 0, "did you mean state"),
        ("a http://x", 2, 'write "http://x"'),
        ("owner:x", 0, "The keys are job, state, since"),
        ("state:failed,faild", 13, "did you mean failed?"),
        ("x since:soon", 8, "write a length of time ago"),
        ("took:5m", 5, "took:>5m or took:<5m"),
        ("took:>long", 6, "is not a duration"),
        ("job:", 4, "needs a value, such as job:Daily*"),
        ('say "nothing', 4, "not closed"),
        ("arg:42", 0, "arg.customer:42"),
        ("job.name:x", 0, "job has no parts"),
        ("job:>x", 0, "can only stand in took:>5m"),
        ("run:12x", 4, "no number of a run"),
        ("batch:month", 6, "no number of a batch"),
        ("arg.a:*x", 6, "may end with a star"),
        ("is:closed", 3, "is:open only"),
        ("since:1h,2h", 0, "takes one value"),
    ],
)
def test_what_cannot_be_understood_is_named_with_its_place(text: str, at: int, said: str):
    with pytest.raises(SearchError) as caught:
        read(text)
    assert caught.value.at == at
    assert said in str(caught.value)


def test_searches_are_put_together():
    query = joined(
        "state:failed", write("job", "Daily Report"), write("", 'a "b"'), write("cause", "")
    )
    assert query == 'state:failed job:"Daily Report" "a \\"b\\""'
    assert read(query) == only(state=RunState.FAILED, job="Daily Report", text='a "b"')
    assert str(only(run=[1, 2], is_="open", cause="")) == "run:1,2 is:open"
