"""Merge three versions of a spec: changes of one side are taken, changes of both sides become a conflict."""

import pytest
from targcc_gen.spec import add_job, build_job, parse_spec, remove_job
from targcc_gen.spec.loader import sides_of
from targcc_gen.spec.merge import Unmergeable, merge_specs

BASE = """\
# yaml-language-server: $schema=.targcc/schema.json
targcc: 1
project: {name: acme-jobs}

# what runs at night
jobs:
  # mails the managers
  Alpha:
    cron: "0 2 * * *" # not later
    retries: 3
    alerts:
      on: [failure]
      email: [a@example.com]

  Omega:
    every: 15m
# the end
"""


def merged(ours: str, theirs: str, base: str | None = BASE):
    result = merge_specs(base, ours, theirs, names=("HEAD", "topic"))
    if not result.disputed:
        parse_spec(result.text)
    return result


def jobs(text: str) -> list[str]:
    return list(parse_spec(text).jobs)


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        ([("retries: 3", "retries: 4")], [("every: 15m", "every: 20m")], ["retries: 4", "every: 20m"]),
        ([("retries: 3\n", "retries: 4\n")], [("    retries: 3\n", "")], None),
        ([("# not later", "# ever")], [("retries: 3", "retries: 4")], ["# ever", "retries: 4"]),
        ([("  # mails the managers\n", "")], [("retries: 3", "retries: 4")], ["retries: 4"]),
        ([("a@example.com]", "a@example.com, b@example.com]")], [("a@example.com]", "a@example.com, c@example.com]")],
         ["[a@example.com, b@example.com, c@example.com]"]),
        ([("on: [failure]", "on: [missed]")], [("on: [failure]", "on: [success]")], None),
        ([("# the end", "# that is all")], [("# what runs", "# What runs")], ["# that is all", "# What runs"]),
        ([("name: acme-jobs", "name: acme-jobs, timezone: UTC")], [("{name: acme-jobs}", "{name: acme-jobs, description: x}")],
         ["timezone: UTC, description: x"]),
        ([("\n# what", "\ndefaults: {retries: 1}\n\n# what")], [("\n# what", "\nqueues: {slow: {workers: 1}}\n\n# what")],
         ["defaults: {retries: 1}", "queues: {slow: {workers: 1}}"]),
    ],
)  # fmt: skip
def test_two_changes(ours, theirs, expected):
    texts = []
    for changes in (ours, theirs):
        text = BASE
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        texts.append(text)

    forward, backward = merged(*texts), merged(*reversed(texts))

    if expected is None:
        assert len(forward.disputed) == len(backward.disputed) == 1
        sides = sides_of(forward.text)
        assert sides is not None
        assert merged(sides.ours, sides.theirs).disputed == forward.disputed
    else:
        assert not forward.disputed
        assert jobs(forward.text) == jobs(backward.text)
        for text in expected:
            assert text in forward.text


def test_a_job_that_one_removes_and_one_changes_is_asked():
    result = merged(remove_job(BASE, "Omega"), BASE.replace("15m", "20m"))

    assert [(dispute.path, dispute.ours) for dispute in result.disputed] == [
        (("jobs", "Omega"), None)
    ]


def test_the_same_job_under_two_spellings_is_one():
    job = build_job("x", {"type": "manual", "retries": 1})
    our_text = add_job(BASE, "NewReport", job)
    their_text = our_text.replace("NewReport:", "new_report:").replace("retries: 1", "retries: 2")

    result = merged(our_text, their_text)

    assert [dispute.path for dispute in result.disputed] == [("jobs", "NewReport", "retries")]


def test_line_ends_and_a_job_indented_otherwise_fit_in():
    their_text = BASE.replace("# the end", "\n  Last:\n    type: manual\n# the end")
    their_text = "\n".join(
        " " * (len(line) - len(line.lstrip())) + line for line in their_text.split("\n")
    )
    our_text = BASE.replace("retries: 3", "retries: 4").replace("\n", "\r\n")

    result = merged(our_text, their_text)

    assert "\r\n  Last:\r\n" in result.text
    assert "\n" not in result.text.replace("\r\n", "")
    assert jobs(result.text) == ["Alpha", "Omega", "Last"]


def test_without_the_older_version_a_job_of_one_side_counts_as_added():
    ours = remove_job(BASE, "Omega")

    assert jobs(merged(ours, BASE, None).text) == ["Alpha", "Omega"]
    assert jobs(merged(ours, BASE).text) == ["Alpha"]


@pytest.mark.parametrize(
    "theirs", ["jobs: [", '{"targcc": 1, "jobs": {}}', "", BASE + "jobs: {}\n"]
)
def test_what_has_no_keys_to_go_by_is_said(theirs):
    with pytest.raises(Unmergeable, match="cannot be merged by key"):
        merged(BASE, theirs)


@pytest.mark.parametrize(
    "text", ["<<<<<<< HEAD\na\n", "<<<<<<< a\n<<<<<<< b\n=======\n>>>>>>> c\n", "=======\n", "a\n"]
)
def test_markers_that_do_not_belong_together_are_none(text):
    assert sides_of(text) is None
