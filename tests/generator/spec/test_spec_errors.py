"""Every error in a spec is reported with its place, its line and advice."""

import tracemalloc
from textwrap import dedent

import pytest
from targcc_gen.errors import InputError
from targcc_gen.spec import SpecErrors, build_job, load_spec, parse_spec
from timed import timed

HEAD = "targcc: 1\nproject: {name: acme}\n"


def errors_of(text, filename="targcc.yaml"):
    with pytest.raises(SpecErrors) as caught:
        parse_spec(text, filename)
    return caught.value.message


def job_errors(body):
    """Return the errors of a job whose lines begin at line 5 and column 5."""
    indented = "\n".join("    " + line for line in body.splitlines())
    return errors_of(f"{HEAD}jobs:\n  Nightly:\n{indented}\n")


def test_two_mistakes_are_shown_together_with_lines_carets_and_suggestions():
    spec = dedent("""\
        targcc: 1
        project:
          name: acme

          timezone: Asia/Jerusalm
        jobs:
          DailyReport:
            cron: "0 2 * * *"
            retires: 5
        """)

    assert errors_of(spec) == dedent("""\
        targcc.yaml:5:13: error: no time zone "Asia/Jerusalm"
           5 |   timezone: Asia/Jerusalm
             |             ^^^^^^^^^^^^^ did you mean "Asia/Jerusalem"?
        targcc.yaml:9:5: error: unknown key "retires" in job DailyReport
           8 |     cron: "0 2 * * *"
           9 |     retires: 5
             |     ^^^^^^^ did you mean "retries"?
        2 errors, nothing was written.""")


@pytest.mark.parametrize("cron", ["0 25 * * *", '"0 25 * * *"', "'0 25 * * *'"])
def test_a_wrong_part_of_a_cron_expression_has_the_carets_below_it(cron):
    line, carets, _ = job_errors(f"cron: {cron}").splitlines()[2:5]

    assert "hour 25 is not between 0 and 23" in job_errors(f"cron: {cron}")
    assert line.index("25") == carets.index("^^")


def test_the_carets_stand_below_wide_characters_too():
    report = job_errors('params: {"日本": int}\ntype: manual')

    line, carets = report.splitlines()[2:4]
    assert carets.index("^") == line.index('"日本"')
    assert carets.count("^") == len('"日本"') + 2  # two of the characters are two columns wide


@pytest.mark.parametrize(
    ("body", "place", "message", "advice"),
    [
        ("cron: * * * * *", "5:11", "text that begins with * needs quotes", 'write "* * * * *"'),
        ("cron: */5 * * * * # often", "5:11", "text that begins with * needs quotes", 'write "*/5 * * * *"'),
        ('cron: "* * *"', "5:12", "3 fields instead of 5", "Five fields are"),
        ("every: 15", "5:12", "a duration needs a unit", "15m"),
        ("every: 15x", "5:12", '"15x" is not a duration', "largest first"),
        ("every: 0s", "5:12", "longer than nothing", "15m"),
        ("every:", "5:5", "every has no value", "remove the line"),
        ("description: x", "4:3", "job Nightly has no schedule", "type: manual"),
        ("cron: 0 2 * * *\nevery: 5m", "6:5", "job Nightly has both cron and every", "keep one"),
        ("every: 5m\nafter: completion\nanchor: 2026-01-01", "7:5", "both anchor and after", "with the run before"),
        ("cron: 0 2 * * *\nafter: completion", "6:5", "after has no use in job Nightly", "every"),
        ("type: manual\ntimezone: UTC", "6:5", "timezone has no use in job Nightly", "a manual job has no schedule"),
        ("type: manual\nmisfire: {policy: skip}", "6:5", "misfire has no use", "no schedule"),
        ("type: manual\nmust_finish_by: '06:00'", "6:5", "must_finish_by has no use", "no schedule"),
        ("every: 5m\nmust_finish_by: 25:00", "6:21", "no time of the day", "in quotes"),
        ("every: 5m\nat_least: often", "6:15", "how often in how long", "1 success in 26h"),
        ("every: 5m\nafter: completion\nmisfire: {}", "7:5", "misfire has no use", "no slots to miss"),
        ("every: 5m\nisolation: thread\nmemory_limit: 64", "7:5", "memory_limit has no use", "process of its own"),
        ("type: manual\nprocedure: SP_X", "6:5", "procedure has no use", "stored-procedure"),
        ("type: recurring", "5:11", 'type cannot be "recurring"', "use one of manual, fire-and-forget, delayed"),
        ("at: 2026-02-30", "5:9", '"2026-02-30" is no date and time', "2026-12-31T02:00"),
        ("cron: 0 2 * * *\ntimezone: europe/Londn", "6:15", "no time zone", 'did you mean "Europe/London"?'),
        ("type: manual\nqueue: defalt", "6:12", 'no queue "defalt"', 'did you mean "default"?'),
        ("type: manual\noverlap: skp", "6:14", 'overlap cannot be "skp"', 'did you mean "skip"?'),
        ("cron: 0 2 * * *\nmisfire: {policy: once}", "6:23", 'policy cannot be "once"', 'did you mean "run_once"?'),
        ("type: manual\nblueprint: reprot", "6:16", 'blueprint cannot be "reprot"', 'did you mean "report"?'),
        ("type: manual\nretries: -1", "6:14", "retries must be at least 0", ""),
        ('type: manual\nretries: "3"', "6:14", "retries must be a whole number", ""),
        ("type: manual\nretries: 1.5", "6:14", "retries must be a whole number", ""),
        ("type: manual\npaused: yes", "6:13", "paused must be true or false", 'did you mean "true"?'),
        ("type: manual\ndescription: 12", "6:18", "description must be text", 'put it in quotes: "12"'),
        ("type: manual\ndisplay_name: ' '", "6:19", "the text is blank", "remove the line"),
        ('type: manual\nname: "a\\nb"', "6:11", "U+000A has no place in a name", "one line"),
        ('type: manual\ndescription: "a\\0b"', "6:18", "a NUL character cannot be stored", "remove"),
        (f"type: manual\nname: {'x' * 101}", "6:11", "name is longer than 100 characters", ""),
        ("type: manual\nalerts: {on: [failed], email: [a@b.c]}", "6:19", 'no alert event "failed"', '"failure"'),
        ("type: manual\nalerts: {on: [slower than 5x], email: [a@b.c]}", "6:31", '"5x" is not a duration', ""),
        ("type: manual\nalerts: {on: [], email: [a@b.c]}", "6:18", "on is empty", "at least one"),
        ("type: manual\nalerts: {on: failure, email: [a@b.c]}", "6:18", "on must be a list", "write [failure]"),
        ("type: manual\nalerts: {on: [failure]}", "6:5", "nobody gets the alerts of job Nightly", "email, slack, teams or webhook"),
        ("type: manual\nalerts: {email: [ops]}", "6:22", '"ops" is no mail address', "ops@example.com"),
        ("type: manual\nalerts: {slack: 'http://x.y'}", "6:21", "begins with https://", "copy it"),
        ("type: manual\nalerts: {webhook: '$HOOK'}", "6:23", "begins with https://", "${SLACK_URL}"),
        ("type: manual\nalerts: {webhook: 'file:'}", "6:23", "begins with https://", "file:/run/secrets"),
        ("type: manual\nparams: {user_id: integer}", "6:23", 'no parameter type "integer"', "int"),
        ("type: manual\nparams: {since: date = today}", "6:21", '"today" is no date', "date = 2026-01-01"),
        ("type: manual\nparams: {queue: int}", "6:14", "the scheduler uses itself", "queue_value"),
        ("type: manual\nparams: {class: int}", "6:14", "is a Python keyword", "class_value"),
        ("cron: 0 2 * * *\nparams: {user_id: int}", "6:23", "has no value when the schedule starts", "int = …"),
        ("type: manual\nblueprint: stored-procedure\nprocedure: x; DROP", "7:16", "no name of a stored procedure", "dbo."),
        ("description: a: b", "5:19", 'a second ": " in one value', "quotes"),
        ('description: "a', "5:18", "a quote is not closed", "second quote"),
        ("alerts: {on: [failure", "5:18", "a [ is not closed", "missing"),
        ("type: manual\n  queue: x", "6:12", 'a second ": "', "indentation"),
        ("\ttype: manual", "5:5", "a tab in the indentation", "spaces"),
        (r'description: "C:\qux"', "5:21", "this escape does not exist", "back-slash"),
        ("type: &x [*x]", "5:15", "no anchor &x before this", "quotes"),
        ("<<: {type: manual}", "5:5", "no merge keys", "defaults"),
        ("description: {{ name }}", "5:19", "a key is a word", "quotes"),
        ("description: !!binary aGk=", "5:18", "no tags such as !!binary", "plainly"),
        ("type: manual\ntype: delayed", "6:5", 'key "type" is given twice', "on line 5 too"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_job_is_said_with_its_place_and_advice(body, place, message, advice):
    report = job_errors(body)

    first = report.splitlines()[0]
    assert first.startswith(f"targcc.yaml:{place}: error: ")
    assert message in first
    assert advice in report
    assert report.endswith("1 error, nothing was written.")


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("", "1:1", "the file is empty"),
        ("# nothing\n---\n", "1:1", "the file is empty"),
        ("- a\n- b\n", "1:1", "a spec is a mapping"),
        ("just words\n", "1:1", "a spec is a mapping"),
        ("project: {name: acme}\n", "1:1", 'the spec has no "targcc"'),
        ("targcc: 2\nproject: {name: acme}\n", "1:9", "version 2; this targcc-gen reads version 1"),
        ("targcc: one\nproject: {name: acme}\n", "1:9", "the version of this file's format"),
        ("targcc: true\nproject: {name: acme}\n", "1:9", "the version of this file's format"),
        ("targcc: 1\n", "1:1", 'the spec has no "project"'),
        ("targcc: 1\nproject:\n", "2:1", "project has no value"),
        ("targcc: 1\nproject: {timezone: UTC}\n", "2:1", 'project has no "name"'),
        ("targcc: 1\nproject: {name: a b}\n", "2:17", '"a b" is no name for a Python distribution'),
        ("targcc: 1\nproject: {name: fastapi}\n", "2:1", 'package "fastapi" would hide a package'),
        ("targcc: 1\nproject: {name: a, package: email}\n", "2:29", "standard library"),
        (f"{HEAD}database: oracle\n", "3:11", 'database cannot be "oracle"'),
        (f"{HEAD}queues: {{default: 5}}\n", "3:19", "queue default must be a mapping"),
        (f"{HEAD}queues: {{a b: {{workers: 1}}}}\n", "3:10", '"a b" is no name for a queue'),
        (f"{HEAD}defaults: {{queue: late}}\n", "3:19", 'no queue "late"'),
        (
            f"{HEAD}queues: {{a: {{pool: mian}}, b: {{pool: main}}}}\npools: {{main: {{}}}}\n",
            "3:20",
            'no pool "mian"',
        ),
        (f"{HEAD}queues: {{a: {{weight: 2}}}}\n", "3:14", "queue a has a weight and no pool"),
        (
            f"{HEAD}queues: {{a: {{pool: m, workers: 3}}}}\npools: {{m: {{}}}}\n",
            "3:23",
            "queue a has both workers and a pool",
        ),
        (
            f"{HEAD}queues: {{a: {{pool: m, weight: 3}}}}\npools: {{m: {{order: strict}}}}\n",
            "3:23",
            "queue a has a weight, and pool m is strict",
        ),
        (f"{HEAD}pools: {{main: {{workers: 2}}}}\n", "3:9", 'no queue is in pool "main"'),
        (
            f"{HEAD}queues: {{a: {{pool: m}}}}\npools: {{m: {{workers: 0}}}}\n",
            "4:22",
            "workers must be at least 1",
        ),
        (
            f"{HEAD}queues: {{a: {{pool: m}}}}\npools: {{m: {{}}}}\nenvironments: {{s: {{pools: {{n: {{}}}}}}}}\n",
            "5:31",
            'no pool "n"',
        ),
        (
            f"{HEAD}queues: {{a: {{pool: m}}}}\npools: {{m: {{}}}}\nenvironments: {{s: {{queues: {{a: {{workers: 2}}}}}}}}\n",
            "5:33",
            "queue a has the workers of pool m",
        ),
        (f"{HEAD}queues: {{a: {{aging: 2d}}}}\n", "3:21", "aging is whole seconds, from 1s to 1d"),
        (f"{HEAD}jobs: [a]\n", "3:7", "jobs must be a mapping"),
        (f"{HEAD}jobs: {{A: 1}}\n", "3:11", "job A must be a mapping"),
        (f"{HEAD}jobs: {{Email: {{type: manual}}}}\n", "3:8", "standard library"),
        (f"{HEAD}jobs: {{A: {{type: manual}}, Żó: {{type: manual}}}}\n", "3:27", 'has "Ż", "ó"'),
        (f"{HEAD}---\n{HEAD}", "3:1", "a spec is one document"),
        ("a: \x00", "1:4", "U+0000 is no character for a text file"),
        ("a: \x1b[31m", "1:4", "U+001B is no character for a text file"),
        ("a: \ud800", "1:4", "U+D800 is no character for a text file"),
    ],
)
def test_a_mistake_in_the_file_is_said_with_its_place(text, place, message):
    report = errors_of(text)

    assert report.splitlines()[0].startswith(f"targcc.yaml:{place}: error: ")
    assert message in report.splitlines()[0]
    assert report.endswith("1 error, nothing was written.")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("DailyReport: {type: manual}", "daily_report: {type: manual}"),
        ("SAPSync: {type: manual}", "SapSync: {type: manual}"),
        ("DailyReport: {type: manual}", "dailyreport: {type: manual}"),
        ("DailyReport: {type: manual, name: Old}", "Other: {type: manual, name: old}"),
        ("DailyReport: {type: manual}", "Other: {type: manual, name: dailyreport}"),
    ],
)
def test_two_jobs_that_a_command_could_not_tell_apart_are_refused(first, second):
    report = errors_of(f"{HEAD}jobs:\n  {first}\n  {second}\n")

    assert report.startswith("targcc.yaml:5:")
    assert "are both" in report


def test_many_errors_are_counted_but_not_all_shown():
    jobs = "".join(f"  Job{n}a: {{typo: 1, type: manual}}\n" for n in range(40))

    report = errors_of(f"{HEAD}jobs:\n{jobs}")

    assert report.count(": error: ") == 25
    assert report.endswith("… and 15 more.\n40 errors, nothing was written.")


def test_a_long_line_is_cut_around_the_mistake():
    report = errors_of(
        f"{HEAD}database: sqlite\njobs: {{A: {{description: {'x' * 500}, tpe: manual, type: manual}}}}\n"
    )

    line, carets = report.splitlines()[2:4]
    assert len(line) < 120
    assert line[carets.index("^") :].startswith("tpe")


def test_nothing_from_the_file_moves_the_cursor_or_turns_the_writing_direction():
    report = errors_of(f'{HEAD}"\\e[2J\\u202e": 1 # \u202e\n')

    assert all(line.isprintable() for line in report.splitlines())


@pytest.mark.parametrize("opening", ["[", "a: [", "- ", "? ", "{a: "])
def test_ten_thousand_levels_are_refused(opening):
    assert "1 error, nothing was written." in errors_of(opening * 10_000)


def test_levels_that_aliases_pile_up_are_refused():
    chain = "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 2000))

    assert "levels deep" in errors_of(f"a0: &a0 [x]\n{chain}")


def test_aliases_that_explode_are_refused_at_once():
    """A spec that stands for 10**19 values is refused sooner than one that stands for 10**4."""

    def errors_of_layers(count):
        layers = (f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, count + 1))
        return errors_of("a0: &a0 [x]\n" + "".join(layers))

    _, read = timed(lambda: errors_of_layers(4))
    report, refused = timed(lambda: errors_of_layers(19))

    assert "aliases counted in full" in report
    assert refused <= read


def test_a_file_that_is_not_utf_8_is_refused_with_the_place_of_the_byte(tmp_path):
    path = tmp_path / "targcc.yaml"
    path.write_bytes(b"\xef\xbb\xbftargcc: 1\nproject: {name: caf\xe9}\n")

    with pytest.raises(
        SpecErrors, match=r"targcc.yaml:2:20: error: byte 0xE9 is not UTF-8"
    ) as caught:
        load_spec(path)

    assert "save the file as UTF-8" in caught.value.message


def test_utf_16_is_named(tmp_path):
    path = tmp_path / "targcc.yaml"
    path.write_bytes(HEAD.encode("utf-16"))

    with pytest.raises(SpecErrors, match="UTF-16"):
        load_spec(path)


def test_a_byte_order_mark_is_accepted(tmp_path):
    path = tmp_path / "targcc.yaml"
    path.write_bytes(HEAD.encode("utf-8-sig"))

    assert load_spec(path).project.name == "acme"


def test_of_fifty_megabytes_no_more_than_the_limit_is_read(tmp_path):
    path = tmp_path / "targcc.yaml"
    with path.open("wb") as file:
        file.truncate(50_000_000)

    tracemalloc.start()
    try:
        with pytest.raises(SpecErrors, match="larger than 5 MB"):
            load_spec(path)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


def test_a_missing_file_and_a_folder_are_said_in_words(tmp_path):
    with pytest.raises(InputError, match="no file"):
        load_spec(tmp_path / "targcc.yaml")
    with pytest.raises(InputError, match="cannot read"):
        load_spec(tmp_path)


def test_a_file_below_the_current_folder_is_named_as_one_would_type_it(tmp_path, monkeypatch):
    (tmp_path / "targcc.yaml").write_text("a: 1")
    monkeypatch.chdir(tmp_path)

    with pytest.raises(SpecErrors, match=r"^targcc\.yaml:1:1: error"):
        load_spec(tmp_path / "targcc.yaml")


def test_an_option_of_a_command_that_is_wrong_names_no_file():
    with pytest.raises(InputError) as caught:
        build_job("DailyReport", {"cron": "0 25 * * *"})

    assert caught.value.message == "hour 25 is not between 0 and 23\n  0 25 * * *\n    ^^"
    assert caught.value.hint.startswith("Five fields are minute")
