"""`targcc-gen cron`."""

import json

import pytest
from click.testing import CliRunner
from targcc_gen.cli.commands.cron import cron
from targcc_gen.errors import InputError


def shown(*arguments):
    result = CliRunner().invoke(cron, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def test_it_shows_words_runs_and_what_the_clock_change_does():
    output = shown(
        "30 2 * * *", "--timezone", "Europe/Berlin", "--after", "2026-03-27T12:00", "--count", "2"
    )
    assert output == (
        "30 2 * * * runs at 02:30 every day (Europe/Berlin)\n"
        "  next    Sat 28 Mar 2026 02:30 +01  (Sat 01:30 UTC)\n"
        "          Sun 29 Mar 2026 03:00 +02  (Sun 01:00 UTC)  near a clock change\n"
        "  note    on Sun 29 Mar 2026 clocks jump from 02:00 to 03:00: it runs at 03:00\n"
        "  note    on Sun 25 Oct 2026 clocks go back from 03:00 to 02:00: it runs once, at the first 02:30\n"
    )


def test_it_shows_an_interval_from_its_anchor_through_a_clock_change():
    output = shown(
        "--every", "3d", "--anchor", "2026-01-02T05:10", "--timezone", "Asia/Jerusalem", "--after", "2027-03-24",
        "--count", "2",
    )  # fmt: skip
    assert output == (
        "every 3d runs every 3 days from 2026-01-02 05:10 (Asia/Jerusalem)\n"
        "  next    Thu 25 Mar 2027 05:10 +02  (Thu 03:10 UTC)\n"
        "          Sun 28 Mar 2027 05:10 +03  (Sun 02:10 UTC)\n"
    )


def test_hours_move_by_the_clock_and_it_says_so():
    output = shown("--every", "7h", "--timezone", "Asia/Jerusalem", "--after", "2027-03-24")
    assert "its times are 1 hour later by the clock from then on" in output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "give a cron expression, or --every"),
        (["0 2 * * *", "--every", "3d"], "give a cron expression, or --every"),
        (["0 2 * * *", "--anchor", "2026-01-02"], "--anchor goes with --every"),
        (["--every", "3d", "--compare", "vixie"], "--compare takes a cron expression"),
    ],
)
def test_one_schedule_is_asked_about(arguments, words):
    result = CliRunner().invoke(cron, arguments)

    assert result.exit_code == 2
    assert words in result.output


def test_half_hour_offsets_and_seconds_are_shown_where_there_are_any():
    output = shown(
        "15 30 2 * * *", "--timezone", "Asia/Kolkata", "--after", "2026-01-01", "--count", "1"
    )
    assert "next    Thu 01 Jan 2026 02:30:15 +05:30  (Wed 21:00:15 UTC)" in output


def test_it_shows_where_another_scheduler_differs():
    output = shown("0 0 13 * 5", "--compare", "vixie", "--after", "2026-01-01")
    assert (
        "compare vixie runs it at 00:00 on the 13th of every month, or at 00:00 every Friday"
        in output
    )
    assert "Fri 02 Jan 2026 00:00 +00  only vixie" in output
    assert len(output.splitlines()) == 12


def test_it_says_when_another_scheduler_agrees_or_refuses():
    assert "vixie runs it at the same times" in shown("0 2 * * *", "--compare", "vixie")
    assert "quartz refuses it: 5 fields instead of 6 or 7" in shown(
        "0 2 * * *", "--compare", "quartz"
    )


def test_a_date_that_never_comes_is_said_and_has_no_runs():
    output = shown("0 0 30 2 *", "--compare", "ncrontab")
    assert "runs never" in output
    assert "next  " not in output


def test_json_holds_everything():
    answer = json.loads(
        shown(
            *("30 2 * * *", "--timezone", "Europe/Berlin", "--after", "2026-03-28T12:00"),
            *("--count", "1", "--compare", "quartz", "--json"),
        )
    )
    assert answer["description"] == "at 02:30 every day"
    assert answer["timezone"] == "Europe/Berlin"
    assert answer["next"] == [
        {
            "local": "2026-03-29T03:00:00+02:00",
            "utc": "2026-03-29T01:00:00+00:00",
            "near_clock_change": True,
        }
    ]
    assert answer["notes"][0].endswith("it runs at 03:00")
    assert answer["comparison"]["refused"] == "5 fields instead of 6 or 7"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["0 25 * * *"],
            "hour 25 is not between 0 and 23\n  0 25 * * *\n    ^^\n  Five fields are",
        ),
        (["0 2 * * *", "--timezone", "Asia/Jerusalm"], 'no time zone "Asia/Jerusalm"'),
        (["0 2 * * *", "--after", "soon"], '"soon" is not a time'),
    ],
)
def test_what_is_wrong_is_pointed_at_with_status_2(arguments, message):
    with pytest.raises(InputError) as caught:
        CliRunner().invoke(cron, arguments, catch_exceptions=False)
    assert caught.value.message.startswith(message)
    assert caught.value.exit_status == 2
