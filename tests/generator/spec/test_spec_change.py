"""Change jobs in a spec's text: all other text stays the same."""

import pytest
from targcc_gen.errors import InputError
from targcc_gen.spec import build_job, change_jobs, job_values, parse_spec

PLAIN = """\
targcc: 1
project: {name: acme}

# what runs at night
jobs:
  # the load
  Load:
    cron: "0 2 * * *"  # at night
    retries: 0

    alerts:  # who is told
      on: [failure]
      email: [a@example.com]
  Mail:
    every: 15m
    description: >-
      Mails
      bills
  # the end
  Last: {cron: "5 5 * * *", paused: true}
queues: {default: {workers: 3}}
"""


def changed(text, key, **values):
    spec = parse_spec(text)
    given = {**job_values(spec.jobs[key]), **values}
    job = build_job(key, {name: value for name, value in given.items() if value is not None})
    after = change_jobs(text, {key: job})
    assert parse_spec(after).jobs[key] == job
    return after


def difference(before, after):
    """Return the removed lines and the added lines."""
    old, new = before.splitlines(), after.splitlines()
    return [line for line in old if line not in new], [line for line in new if line not in old]


@pytest.mark.parametrize(
    ("key", "values", "gone", "come"),
    [
        ("Load", {"cron": "0 3 * * *"}, ['    cron: "0 2 * * *"  # at night'], ['    cron: "0 3 * * *"  # at night']),
        ("Load", {"retries": None}, ["    retries: 0"], []),
        ("Load", {"timeout": "5m"}, [], ["    timeout: 5m"]),
        ("Load", {"cron": None, "every": "1h"}, ['    cron: "0 2 * * *"  # at night'], ["    every: 1h"]),
        ("Load", {"alerts": {"on": ["failure"], "email": ["b@example.com"]}},
         ["    alerts:  # who is told", "      email: [a@example.com]"], ["    alerts:", "      email: [b@example.com]"]),
        ("Mail", {"description": "Mails"}, ["    description: >-", "      Mails", "      bills"], ["    description: Mails"]),
        ("Last", {"paused": None}, ['  Last: {cron: "5 5 * * *", paused: true}'], ['  Last: {cron: "5 5 * * *"}']),
    ],
)  # fmt: skip
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_only_the_lines_of_what_changes_are_other_ones(key, values, gone, come, ends):
    text = PLAIN.replace("\n", ends)
    after = changed(text, key, **values)

    assert difference(text, after) == (gone, come)
    assert after.count("\r\n") == (after.count("\n") if ends == "\r\n" else 0)


def test_several_jobs_change_in_one_go():
    spec = parse_spec(PLAIN)
    jobs = {key: build_job(key, {"cron": "1 1 * * *"}) for key in spec.jobs}
    after = change_jobs(PLAIN, jobs)

    assert dict(parse_spec(after).jobs) == jobs
    assert "# the load" in after
    assert "# the end" in after


@pytest.mark.parametrize("end", ["", "\n", "\n\n# done\n"])
def test_the_last_line_of_a_file_may_have_no_end(end):
    text = "targcc: 1\nproject: {name: a}\njobs:\n  Load:\n    cron: '0 2 * * *'" + end
    after = changed(text, "Load", retries=2)

    assert "    retries: 2" in after
    assert after.endswith("# done\n") == end.endswith("# done\n")


def test_a_spec_in_braces_is_changed_too():
    text = '{"targcc": 1, "project": {"name": "a"}, "jobs": {"Load": {"cron": "0 2 * * *"}, "B": {"every": "1h"}}}'

    assert '"Load": {"cron": "0 3 * * *"}, "B"' in changed(text, "Load", cron="0 3 * * *")


def test_a_job_written_by_an_alias_is_refused_or_written_out():
    text = "targcc: 1\nproject: {name: a}\njobs:\n  A: &a\n    cron: '0 2 * * *'\n  B: *a\n"

    assert parse_spec(changed(text, "B", cron="0 3 * * *")).jobs["A"].cron == "0 2 * * *"
    with pytest.raises(InputError, match="cannot be changed"):
        changed(text, "A", cron="0 3 * * *")


def test_a_queue_that_the_spec_does_not_have_is_refused():
    with pytest.raises(InputError, match="queue"):
        changed(PLAIN, "Load", queue="nowhere")
