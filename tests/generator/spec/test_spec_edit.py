"""Add jobs to a spec and remove them; every other character stays."""

from textwrap import dedent

import pytest
from hypothesis import given
from hypothesis import strategies as st
from targcc_gen import assets
from targcc_gen.errors import InputError
from targcc_gen.spec import (
    QueueSpec,
    SpecErrors,
    add_job,
    add_queues,
    build_job,
    parse_spec,
    remove_job,
    set_scheduler,
)

HEAD = "targcc: 1\nproject:\n  name: acme\n"
NIGHTLY = {"cron": "0 2 * * *", "description": "At night: all of it"}


def added(text, key="Nightly", **values):
    return add_job(text, key, build_job(key, values or NIGHTLY))


def test_a_job_goes_to_the_end_of_jobs_and_nothing_else_moves():
    before = dedent("""\
        # Our jobs
        targcc: 1   # the format

        project: {name: acme}
        jobs:
          # first
          First:
            type: manual    # by hand
            description: 'quoted'
            # about First

          Second: {type: manual}
          # not yet:
          # Third: {type: manual}

        # which database
        database: sqlite
        """)

    second = "  Second: {type: manual}\n"
    nightly = '\n  Nightly:\n    cron: "0 2 * * *"\n    description: "At night: all of it"\n'
    assert added(before) == before.replace(second, second + nightly)


BEFORE_AND_AFTER = {
    "no jobs": (HEAD, 'jobs:\n  Nightly:\n    cron: "0 2 * * *"\n'),
    "jobs with nothing below": (HEAD + "jobs:\n", 'jobs:\n  Nightly:\n    cron: "0 2 * * *"\n'),
    "empty braces": (HEAD + "jobs: {}  # none yet\n", 'jobs:  # none yet\n  Nightly:\n    cron: "0 2 * * *"\n'),
    "null": (HEAD + "jobs: ~\ndatabase: sqlite\n", 'jobs:\n  Nightly:\n    cron: "0 2 * * *"\ndatabase: sqlite\n'),
    "comment below": (HEAD + "jobs:\n  # soon\n", 'jobs:\n  # soon\n\n  Nightly:\n    cron: "0 2 * * *"\n'),
    "four spaces": (
        HEAD.replace("  ", "    ") + "jobs:\n    A:\n        type: manual\n\n    B:\n        type: manual\n",
        '\n\n    Nightly:\n        cron: "0 2 * * *"\n',
    ),
    "no blank lines": (
        HEAD + "jobs:\n  A:\n    type: manual\n  B:\n    type: manual\n",
        '    type: manual\n  Nightly:\n    cron: "0 2 * * *"\n',
    ),
    "braces": (HEAD + "jobs: {A: {type: manual}} # x\n", '{A: {type: manual}, Nightly: {cron: "0 2 * * *"}} # x\n'),
    "no newline at the end": (
        HEAD + "jobs:\n  A: {type: manual}",
        '  A: {type: manual}\n\n  Nightly:\n    cron: "0 2 * * *"',
    ),
    "document end": (HEAD + "...\n", 'jobs:\n  Nightly:\n    cron: "0 2 * * *"\n...\n'),
    "JSON": (
        '{\n  "targcc": 1,\n  "project": {"name": "acme"},\n  "jobs": {\n    "A": {"type": "manual"}\n  }\n}\n',
        '    "A": {"type": "manual"},\n    "Nightly": {"cron": "0 2 * * *"}\n  }\n}\n',
    ),
    "JSON without jobs": (
        '{"targcc": 1, "project": {"name": "acme"}}',
        '{"name": "acme"}, "jobs": {"Nightly": {"cron": "0 2 * * *"}}}',
    ),
    "text with lines": (
        HEAD + "jobs:\n  A:\n    type: manual\n    description: |\n      one\n\n      # two\n\ndatabase: sqlite\n",
        '      # two\n\n  Nightly:\n    cron: "0 2 * * *"\n\ndatabase: sqlite\n',
    ),
    "text with kept blank lines": (
        HEAD + "jobs:\n  A:\n    type: manual\n    description: |+\n      one\n\n\n",
        '      one\n\n\n  Nightly:\n    cron: "0 2 * * *"\n',
    ),
    "an alias": (
        HEAD + "jobs:\n  A: &a\n    type: manual\n\n  B: *a\n",
        '  B: *a\n\n  Nightly:\n    cron: "0 2 * * *"\n',
    ),
    "an anchored text": (
        HEAD + "jobs:\n  A: {type: manual}\n  B: {type: &t delayed}\n",
        '  Nightly:\n    cron: "0 2 * * *"\n',
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BEFORE_AND_AFTER)
@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["LF", "CRLF"])
@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["", "BOM"])
def test_however_a_file_is_written_a_job_fits_in(case, newline, mark):
    before, expected = (text.replace("\n", newline) for text in BEFORE_AND_AFTER[case])

    after = added(mark + before, cron="0 2 * * *")

    assert expected in after
    assert after.startswith(mark)
    assert after.count("\n") - after.count("\r\n") == (
        0 if newline == "\r\n" else after.count("\n")
    )


# In these specs, removing the job again leaves a `jobs:` that was missing or written differently.
CHANGED_FOR_GOOD = {"no jobs", "empty braces", "null", "JSON without jobs", "document end"}


@pytest.mark.parametrize(
    "case", [case for case in BEFORE_AND_AFTER if case not in CHANGED_FOR_GOOD]
)
@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["LF", "CRLF"])
def test_a_job_that_is_added_and_removed_leaves_no_trace(case, newline):
    before = BEFORE_AND_AFTER[case][0].replace("\n", newline)

    assert remove_job(added(before), "Nightly") == before


def test_a_job_is_removed_with_the_comment_above_it_and_no_other():
    before = dedent("""\
        targcc: 1
        project: {name: acme}
        jobs:
          # about A
          A:
            type: manual
            # still about A

          # about B
          # and more
          B:  # here too
            type: manual
            # still about B

          # about C
          C: {type: manual}
        # the end
        """)

    without_b = remove_job(before, "B")

    assert without_b == before.replace(
        before[before.index("\n  # about B") : before.index("\n  # about C")], ""
    )
    assert remove_job(before, "A") == before.replace(
        before[before.index("  # about A") : before.index("  # about B")], ""
    )
    assert remove_job(before, "C").endswith("    # still about B\n# the end\n")


def test_the_last_job_leaves_an_empty_list():
    text = remove_job(HEAD + "jobs:\n  A: {type: manual}\n", "A")

    assert text == HEAD + "jobs:\n"
    assert parse_spec(text).jobs == {}


@pytest.mark.parametrize(
    ("jobs", "key", "left"),
    [
        ("{A: {type: manual}, B: {type: manual}}", "A", "{B: {type: manual}}"),
        ("{A: {type: manual}, B: {type: manual}}", "B", "{A: {type: manual}}"),
        ("{A: {type: manual},}", "A", "{}"),
        ("{\n  A: {type: manual},\n  B: {type: manual},\n  }", "B", "{\n  A: {type: manual},\n  }"),
    ],
)
def test_a_job_in_braces_is_removed_with_its_comma(jobs, key, left):
    assert remove_job(f"{HEAD}jobs: {jobs}\n", key) == f"{HEAD}jobs: {left}\n"


def test_a_job_is_found_however_its_name_is_written():
    assert (
        remove_job(HEAD + 'jobs:\n  "daily report": {type: manual}\n', "DailyReport")
        == HEAD + "jobs:\n"
    )


def test_a_job_that_others_are_made_from_stays():
    text = HEAD + "jobs:\n  A: &a {type: manual}\n  B: *a\n"

    with pytest.raises(InputError, match="without changing something else"):
        remove_job(text, "A")
    assert "A:" not in remove_job(text, "B").replace("A: &a", "")


def test_a_job_that_is_not_there_is_said_with_the_nearest_one():
    with pytest.raises(InputError) as caught:
        remove_job(HEAD + "jobs: {Nightly: {type: manual}}\n", "Nightl")

    assert (caught.value.message, caught.value.hint) == (
        "no job Nightl in targcc.yaml",
        'did you mean "Nightly"?',
    )


def test_an_existing_name_is_refused():
    with pytest.raises(InputError, match="has a job Nightly already"):
        added(HEAD + "jobs: {Nightly: {type: manual}}\n")


def test_nothing_is_added_to_a_spec_that_is_wrong():
    with pytest.raises(SpecErrors, match="unknown key"):
        added(HEAD + "nope: 1\n")


def test_the_demo_can_be_taken_apart_and_the_rest_stays_the_same():
    text = (assets.examples() / "acme" / "targcc.yaml").read_text(encoding="utf-8")
    spec = parse_spec(text)

    for key in spec.jobs:
        rest = remove_job(text, key)
        assert set(parse_spec(rest).jobs) == set(spec.jobs) - {key}
        assert rest.startswith(text[:400])
        assert parse_spec(add_job(rest, key, spec.jobs[key])) == spec


@given(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    st.sampled_from(list(BEFORE_AND_AFTER)),
)
def test_any_description_can_be_added_to_any_file(description, case):
    after = added(BEFORE_AND_AFTER[case][0], type="manual", description=description)

    assert parse_spec(after).jobs["Nightly"].description == description


SCHEDULERS = {
    "none yet": (HEAD + "jobs: {}\n", HEAD + "scheduler: package\njobs: {}\n"),
    "at the end": ("targcc: 1\nproject: {name: acme}", "targcc: 1\nproject: {name: acme}\nscheduler: package"),
    "a comment below": (HEAD + "  # about it\njobs: {}\n", HEAD + "  # about it\nscheduler: package\njobs: {}\n"),
    "another": (HEAD + "scheduler: vendored  # ours\n", HEAD + "scheduler: package  # ours\n"),
    "in quotes": (HEAD + "scheduler: 'vendored'\n", HEAD + "scheduler: 'package'\n"),
    "braces": ("{targcc: 1, project: {name: acme}}\n", "{targcc: 1, project: {name: acme}, scheduler: package}\n"),
    "JSON": ('{"targcc": 1, "project": {"name": "acme"}}', '{"targcc": 1, "project": {"name": "acme"}, "scheduler": "package"}'),
    "CRLF": ("targcc: 1\r\nproject: {name: acme}\r\n", "targcc: 1\r\nproject: {name: acme}\r\nscheduler: package\r\n"),
}  # fmt: skip


@pytest.mark.parametrize(("before", "after"), SCHEDULERS.values(), ids=SCHEDULERS)
def test_the_scheduler_is_chosen_and_nothing_else_moves(before, after):
    assert set_scheduler(before, "package") == after
    assert parse_spec(set_scheduler(after, "vendored")).scheduler == "vendored"


def test_a_scheduler_that_is_written_with_an_alias_is_written_out():
    text = "targcc: 1\nproject: {name: &s vendored}\nscheduler: *s\n"
    assert parse_spec(set_scheduler(text, "package")).project.name == "vendored"


# --- queues -----------------------------------------------------------------------------------------------------------

TASKS = {"tasks": QueueSpec(workers=1, concurrency=1)}
JOBS = "jobs:\n  A: {type: manual}\n"


@pytest.mark.parametrize(
    ("before", "line"),
    [
        (HEAD + JOBS, "  name: acme\nqueues:\n  tasks: {workers: 1, concurrency: 1}\njobs:"),
        (HEAD + "queues:\n  default: {workers: 2}  # few\n" + JOBS, "# few\n  tasks: {workers: 1, concurrency: 1}\njobs:"),
        (HEAD + "queues:\n    default:\n        workers: 2\n\n" + JOBS, "workers: 2\n    tasks: {workers: 1, concurrency: 1}\n\njobs:"),
        (HEAD + "queues: {default: {workers: 2}}\n" + JOBS, "{default: {workers: 2}, tasks: {workers: 1, concurrency: 1}}\n"),
        (HEAD + "queues: {}\n" + JOBS, "queues: {tasks: {workers: 1, concurrency: 1}}\n"),
        ("{targcc: 1, project: {name: acme}}\n", "{name: acme}, queues: {tasks: {workers: 1, concurrency: 1}}}\n"),
        ('{"targcc": 1, "project": {"name": "acme"}}\n', '"queues": {"tasks": {"workers": 1, "concurrency": 1}}}\n'),
    ],
)  # fmt: skip
def test_a_queue_is_added_and_nothing_else_moves(before, line):
    after = add_queues(before, TASKS)

    assert line in after
    assert parse_spec(after).queues["tasks"] == TASKS["tasks"]
    assert add_queues(after, TASKS) == after


def test_a_queue_that_is_there_stays_as_it_is():
    before = HEAD + "queues: {tasks: {workers: 7}}\n"

    assert add_queues(before, TASKS) == before
